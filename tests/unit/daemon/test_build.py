"""What the configuration becomes: prices, regions, providers, and who pays."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from claude_failover.clock import SystemClock
from claude_failover.config import Paths
from claude_failover.core.models import Target
from claude_failover.core.settings import Backend, CostTracking, Settings
from claude_failover.core.types import BackendName, Kind
from claude_failover.credentials.anthropic import AnthropicTokens
from claude_failover.daemon import build, life
from claude_failover.errors import ConfigError
from claude_failover.upstream.anthropic import AnthropicUpstream

CLAUDE, BEDROCK = BackendName("claude"), BackendName("bedrock")
PRIMARY = Backend(CLAUDE, Kind.ANTHROPIC)
SECOND = Backend(BEDROCK, Kind.BEDROCK)
SETTINGS = Settings(backends=(PRIMARY, SECOND))

Stand = Callable[[Settings], build.Standing]


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    paths = Paths(tmp_path / "config.yaml", tmp_path, tmp_path, tmp_path)
    environ = {"HOME": str(tmp_path), "CLAUDE_CONFIG_DIR": str(tmp_path / "claude")}
    return lambda settings: build.stand(settings, paths, SystemClock(), random.Random(0), environ)


async def test_the_region_of_the_backend_decides_the_form_of_an_id(stand: Stand) -> None:
    standing = stand(SETTINGS)
    geo = replace(SETTINGS, backends=(PRIMARY, replace(SECOND, scope="none")))
    made = build.generate(geo, standing, SystemClock(), {"AWS_REGION": "eu-central-1"})
    assert standing.regions == {BEDROCK: "eu-central-1"}
    assert made.counsel.settings.backends[1].region == "eu-central-1"
    target = made.counsel.catalog.resolve("claude-opus-5-5", made.counsel.settings.backends[1])
    assert isinstance(target, Target)


@pytest.mark.parametrize(
    ("backend", "environ", "region"),
    [
        (replace(SECOND, region="us-west-2"), {"AWS_REGION": "eu-west-1"}, "us-west-2"),
        (SECOND, {"AWS_REGION": "eu-west-1", "AWS_DEFAULT_REGION": "us-east-1"}, "eu-west-1"),
        (SECOND, {"AWS_DEFAULT_REGION": "us-east-1"}, "us-east-1"),
        (SECOND, {}, ""),
    ],
)
def test_the_setting_wins_over_the_variables(backend: Backend, environ: dict[str, str], region: str) -> None:
    assert build.told_region(backend, environ) == region


async def test_a_region_that_a_profile_told_is_kept_until_the_profile_changes(stand: Stand) -> None:
    standing = stand(SETTINGS)
    clock = SystemClock()
    build.generate(SETTINGS, standing, clock, {})
    assert standing.regions == {}
    standing.regions[BEDROCK] = "ap-southeast-2"
    provider = standing.aws[BEDROCK]
    build.generate(SETTINGS, standing, clock, {})
    assert (standing.regions, standing.aws[BEDROCK]) == ({BEDROCK: "ap-southeast-2"}, provider)
    other = replace(SETTINGS, backends=(PRIMARY, replace(SECOND, profile="work")))
    build.generate(other, standing, clock, {})
    assert standing.regions == {}
    assert standing.aws[BEDROCK] is not provider


async def test_a_reload_reads_credentials_again(stand: Stand) -> None:
    standing = stand(SETTINGS)
    build.generate(SETTINGS, standing, SystemClock(), {})
    provider = standing.aws[BEDROCK]
    build.generate(SETTINGS, standing, SystemClock(), {}, anew=True)
    assert standing.aws[BEDROCK] is not provider


async def test_what_is_refused_changes_nothing(stand: Stand) -> None:
    standing = stand(SETTINGS)
    build.generate(SETTINGS, standing, SystemClock(), {})
    before = (standing.prices, standing.aws, standing.regions)
    wrong = replace(SETTINGS, backends=(PRIMARY, replace(SECOND, endpoint_url="nowhere", region="us-east-1")))
    with pytest.raises(ConfigError):
        build.generate(wrong, standing, SystemClock(), {}, anew=True)
    assert (standing.prices, standing.aws, standing.regions) == before


async def test_without_an_anthropic_backend_everything_else_goes_to_the_claude_api(stand: Stand) -> None:
    only = replace(SETTINGS, backends=(SECOND,))
    made = build.generate(only, stand(only), SystemClock(), {})
    assert set(made.upstreams) == {BEDROCK}
    assert made.relay is not None


async def test_what_the_account_listed_refines_the_catalog(stand: Stand) -> None:
    standing = stand(SETTINGS)
    standing.discovered = {BEDROCK: ("us.anthropic.claude-opus-5-5",)}
    made = build.generate(SETTINGS, standing, SystemClock(), {"AWS_REGION": "us-east-1"})
    target = made.counsel.catalog.resolve("claude-opus-5-5", made.counsel.settings.backends[1])
    assert isinstance(target, Target)
    assert "us.anthropic.claude-opus-5-5" in target.forms


def test_the_owners_prices_win(tmp_path: Path) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text("models: {claude-opus-5-5: {input: 7}}\n")
    file.chmod(0o600)
    costs = CostTracking(price_file=str(file))
    table = build.price_table(replace(SETTINGS, cost_tracking=costs))
    assert table.overridden == {"claude-opus-5-5"}
    with pytest.raises(ConfigError):
        build.price_table(replace(SETTINGS, cost_tracking=replace(costs, price_file=str(tmp_path / "absent"))))


def payer(environ: dict[str, str], credential: str = "auto") -> Callable[[tuple[tuple[str, str], ...]], bool]:
    settings = replace(SETTINGS, backends=(replace(PRIMARY, credential=credential), SECOND))
    paid = build.payer(settings, AnthropicTokens(("env",), environ))

    def primary(lines: tuple[tuple[str, str], ...]) -> bool:
        found = paid(lines)
        assert found[BEDROCK] is True
        return found[CLAUDE]

    return primary


@pytest.mark.parametrize(
    ("lines", "pays"),
    [
        ((("x-api-key", "whatever"),), True),
        ((("Authorization", "Bearer sk-ant-api03-abc"),), True),
        ((("authorization", "bearer  sk-ant-api03-abc"),), True),
        ((("authorization", "Bearer sk-ant-oat01-abc"),), False),
        ((("authorization", "Bearer of-a-gateway-sk-ant-api"),), False),
        ((("authorization", "Basic sk-ant-api03-abc"),), False),
        ((), False),
    ],
)
def test_a_client_with_an_api_key_pays(lines: tuple[tuple[str, str], ...], pays: bool) -> None:
    assert payer({})(lines) is pays


def test_a_stored_api_key_pays_where_it_is_used() -> None:
    environ = {"ANTHROPIC_API_KEY": "sk-ant-api03-" + "a" * 30}
    login = (("authorization", "Bearer sk-ant-oat01-abc"),)
    assert payer(environ)(()) is True
    assert payer(environ)(login) is False
    assert payer(environ, "stored")(login) is True
    assert payer(environ, "client")(()) is False


@pytest.mark.parametrize("backends", [(PRIMARY, SECOND), (SECOND,)])
async def test_the_relay_is_closed_with_its_generation_and_once(
    backends: tuple[Backend, ...], stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[object] = []

    async def close(upstream: object) -> None:
        closed.append(upstream)

    monkeypatch.setattr(AnthropicUpstream, "close", close)
    settings = replace(SETTINGS, backends=backends)
    made = build.generate(settings, stand(settings), SystemClock(), {})
    await life._close(made)
    assert closed == [made.relay]
