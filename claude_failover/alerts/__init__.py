"""Alerts without Prometheus: what the owner should know, told on the desktop, to a command, to a webhook.

What is worth an alert is decided in :mod:`~claude_failover.core.conditions`; here it is delivered. Nothing waits for
a delivery: each channel has a bounded queue and a thread of its own.
"""

from __future__ import annotations

from claude_failover.alerts.channels import Channel, Command, Desktop, Failed, Webhook
from claude_failover.alerts.desk import Desk, channels_of
from claude_failover.alerts.notice import payload, sentence

__all__ = ["Channel", "Command", "Desk", "Desktop", "Failed", "Webhook", "channels_of", "payload", "sentence"]
