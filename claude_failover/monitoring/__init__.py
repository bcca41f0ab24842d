"""Files for Prometheus and Grafana, exported by ``claude-failover monitoring export DIR``.

``dashboard.json`` is a Grafana dashboard, ``prometheus.yml`` a scrape configuration, ``rules.yml`` the alert rules and
``rules_test.yml`` their tests for promtool. This package holds no code.
"""

from __future__ import annotations

from typing import Final

FILES: Final = ("dashboard.json", "prometheus.yml", "rules.yml", "rules_test.yml")
"""What is exported."""
