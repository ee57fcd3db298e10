"""What deploy/ holds parses, fits the gateway, and its numbers fit each other."""

from __future__ import annotations

import base64
import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.deploy.proxies import DEPLOY, program, unbroken
from unbroken.gateway.config import GatewayConfig, LimitsConfig, load
from unbroken.gateway.config.load import read

yaml = pytest.importorskip("yaml", reason="needs the package pyyaml")

AFTER_DRAIN_S = 30
SECRET = base64.b64encode(b"5" * 32).decode()
CHECKOUT = DEPLOY.parent


def documents(name: str) -> list[dict]:
    return [each for each in yaml.safe_load_all((DEPLOY / name).read_text("utf-8")) if each]


def kind(name: str, wanted: str, called: str = "unbroken") -> dict:
    (found,) = [
        each
        for each in documents(f"kubernetes/{name}")
        if each["kind"] == wanted and each["metadata"]["name"] == called
    ]
    return found


def load_text(text: str, folder: Path, secrets_at: str) -> GatewayConfig:
    """Load a configuration as the gateway does; its secrets are files of the test's."""
    assert secrets_at in text
    wanted = re.findall(rf'"{re.escape(secrets_at)}/([\w-]+)"', text)
    for name in wanted:
        (folder / name).write_text(SECRET)
        (folder / name).chmod(0o600)
    file = folder / "unbroken.toml"
    file.write_text(text.replace(secrets_at, str(folder)), "utf-8")
    loaded = read(file, {})
    assert not loaded.problems, loaded.problems
    return load(file, {})


def seconds(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(ms|s|m)?", text).groups()
    return int(number) * {"m": 60, "ms": 0.001}.get(unit, 1)


def ports_of(listen: str) -> int:
    return int(listen.rpartition(":")[2])


# Kubernetes ----------------------------------------------------------------------------------


@pytest.fixture
def kubernetes(tmp_path: Path) -> GatewayConfig:
    text = kind("configmap.yaml", "ConfigMap")["data"]["unbroken.toml"]
    return load_text(text, tmp_path, "/run/secrets/unbroken")


def test_every_manifest_is_named_and_told_apart() -> None:
    listed = documents("kubernetes/kustomization.yaml")[0]["resources"]
    files = {path.name for path in (DEPLOY / "kubernetes").glob("*.yaml")}
    assert files == {*listed, "kustomization.yaml", "ingress.yaml"}
    for name in (*listed, "ingress.yaml"):
        for each in documents(f"kubernetes/{name}"):
            assert each["apiVersion"]
            assert each["metadata"]["labels"]["app.kubernetes.io/name"] == each["metadata"]["name"]


def test_a_pod_has_the_time_that_a_drain_takes(kubernetes: GatewayConfig) -> None:
    pod = kind("deployment.yaml", "Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    assert command[0] == "sleep"
    pre_stop_s = int(command[1])
    readiness = container["readinessProbe"]
    assert pre_stop_s >= readiness["periodSeconds"] * readiness["failureThreshold"]
    grace_s = pod["terminationGracePeriodSeconds"]
    assert grace_s == pre_stop_s + kubernetes.drain_s + AFTER_DRAIN_S


def test_pods_run_with_few_rights() -> None:
    for file, name in (("deployment.yaml", "unbroken"), ("redis.yaml", "unbroken-redis")):
        pod = kind(file, "Deployment", name)["spec"]["template"]["spec"]
        container = pod["containers"][0]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        assert pod["automountServiceAccountToken"] is False
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        assert container["resources"]["requests"]
        assert container["resources"]["limits"]["memory"]


def test_probes_and_service_reach_the_gateway(kubernetes: GatewayConfig) -> None:
    spec = kind("deployment.yaml", "Deployment")["spec"]
    assert spec["replicas"] == 2
    container = spec["template"]["spec"]["containers"][0]
    (port,) = container["ports"]
    assert port["containerPort"] == ports_of(kubernetes.listen)
    assert kubernetes.listen.startswith("0.0.0.0:")
    for probe, path in (
        ("startup", "/healthz"),
        ("readiness", "/readyz"),
        ("liveness", "/healthz"),
    ):
        assert container[f"{probe}Probe"]["httpGet"] == {"path": path, "port": port["name"]}
    service = kind("service.yaml", "Service")["spec"]
    assert service["ports"][0]["targetPort"] == port["name"]
    labels = spec["template"]["metadata"]["labels"]
    assert service["selector"] == spec["selector"]["matchLabels"] == labels
    assert kind("disruption.yaml", "PodDisruptionBudget")["spec"]["minAvailable"] < 2
    assert kind("service.yaml", "Service")["metadata"]["name"] in kubernetes.hosts
    assert spec["template"]["metadata"]["annotations"]["prometheus.io/port"] == "8411"


def test_a_pod_holds_what_its_configuration_names(kubernetes: GatewayConfig) -> None:
    pod = kind("deployment.yaml", "Deployment")["spec"]["template"]["spec"]
    container = pod["containers"][0]
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    volumes = {each["name"]: each for each in pod["volumes"]}
    assert set(mounts) == {"/etc/unbroken", "/run/secrets/unbroken", "/run/unbroken"}
    assert volumes[mounts["/run/unbroken"]["name"]]["emptyDir"]["medium"] == "Memory"
    secret = volumes[mounts["/run/secrets/unbroken"]["name"]]["secret"]
    assert secret["defaultMode"] & 0o007 == 0, "others could read the keys"
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsGroup"]
    assert container["args"][-1] == "/etc/unbroken/unbroken.toml"
    redis = kind("redis.yaml", "Service", "unbroken-redis")
    assert redis["metadata"]["name"] in kubernetes.journal.url
    memory = container["resources"]["limits"]["memory"]
    assert memory == "1Gi"
    assert kubernetes.limits.max_buffer_bytes * kubernetes.workers * 2 <= 1 << 30


def test_no_manifest_holds_a_secret() -> None:
    for path in (DEPLOY / "kubernetes").glob("*.yaml"):
        assert all(each["kind"] != "Secret" for each in documents(f"kubernetes/{path.name}"))


def test_the_ingress_keeps_the_pace() -> None:
    notes = kind("ingress.yaml", "Ingress")["metadata"]["annotations"]
    said = {name.rpartition("/")[2]: value for name, value in notes.items()}
    ours = directives("nginx/unbroken_proxy.conf")
    for name, value in said.items():
        name = "client_max_body_size" if name == "proxy-body-size" else name.replace("-", "_")
        assert value == ours[name].removesuffix("s" if name.endswith("timeout") else ""), name


# Compose -------------------------------------------------------------------------------------


@pytest.fixture
def compose(tmp_path: Path) -> GatewayConfig:
    text = (DEPLOY / "compose/unbroken.toml").read_text("utf-8")
    return load_text(text, tmp_path, "/run/secrets")


def services() -> dict:
    return documents("compose/compose.yaml")[0]["services"]


def test_compose_waits_for_a_drain(compose: GatewayConfig) -> None:
    for name in ("unbroken-1", "unbroken-2", "nginx"):
        grace_s = seconds(services()[name]["stop_grace_period"])
        assert grace_s == compose.drain_s + AFTER_DRAIN_S, name


def test_compose_starts_what_the_files_name(compose: GatewayConfig) -> None:
    whole = documents("compose/compose.yaml")[0]
    text = (DEPLOY / "compose/unbroken.toml").read_text("utf-8")
    nginx = (DEPLOY / "compose/nginx.conf").read_text("utf-8")
    addresses = set()
    for name in ("unbroken-1", "unbroken-2"):
        service = whole["services"][name]
        assert set(re.findall(r"/run/secrets/([\w-]+)", text)) == set(service["secrets"])
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert service["networks"].keys() == {"front", "journal"}
        address = service["networks"]["front"]["ipv4_address"]
        addresses.add(f"{address}:{ports_of(compose.listen)}")
        build = service["build"]
        context = (DEPLOY / "compose" / build["context"]).resolve()
        assert (context / build["dockerfile"]).is_file()
        for volume in service["volumes"]:
            assert (DEPLOY / "compose" / volume.split(":")[0]).is_file()
    assert set(re.findall(r"server (\S+:\d+) ", nginx)) == addresses
    assert all(each["file"].startswith("./secrets/") for each in whole["secrets"].values())
    for volume in whole["services"]["nginx"]["volumes"]:
        assert (DEPLOY / "compose" / volume.split(":")[0]).is_file()
    assert all(each["healthcheck"]["test"][0] == "CMD" for each in whole["services"].values())
    (published,) = whole["services"]["nginx"]["ports"]
    assert published.startswith("127.0.0.1:")
    assert "ports" not in whole["services"]["redis"]


def test_redis_forgets_at_its_end_and_never_before(compose: GatewayConfig) -> None:
    whole = documents("compose/compose.yaml")[0]
    (pod,) = [
        kind("redis.yaml", "Deployment", "unbroken-redis")["spec"]["template"]["spec"]["containers"]
    ]
    for words in (whole["services"]["redis"]["command"], pod[0]["args"]):
        options = dict(zip(words[1::2], words[2::2], strict=True))
        assert options["--save"] == ""
        assert options["--appendonly"] == "no"
        assert options["--maxmemory-policy"] == "noeviction"
        assert options["--maxmemory"]
    assert whole["services"]["redis"]["networks"] == ["journal"]
    assert whole["networks"]["journal"]["internal"] is True
    assert "//redis:6379" in compose.journal.url


def test_secrets_are_made_for_their_owner_alone(tmp_path: Path) -> None:
    program("openssl")
    script = tmp_path / "make-secrets.sh"
    shutil.copy(DEPLOY / "compose/make-secrets.sh", script)
    run = {"env": {**os.environ, "OPENAI_API_KEY": "sk-of-a-test"}, "capture_output": True}
    said = subprocess.run([script], check=True, **run)
    assert b"sk-" not in said.stdout + said.stderr
    made = {path.name: path for path in (tmp_path / "secrets").iterdir()}
    text = (DEPLOY / "compose/unbroken.toml").read_text("utf-8")
    assert set(made) == set(re.findall(r"/run/secrets/([\w-]+)", text))
    assert all(path.stat().st_mode & 0o077 == 0 for path in made.values())
    first = {name: path.read_text() for name, path in made.items()}
    subprocess.run([script], check=True, **run)
    assert {name: path.read_text() for name, path in made.items()} == first
    config = text.replace("/run/secrets", str(tmp_path / "secrets"))
    (tmp_path / "unbroken.toml").write_text(config)
    assert not read(tmp_path / "unbroken.toml", {}).problems
    assert (tmp_path / ".env").read_text() == f"UNBROKEN_USER={os.getuid()}:{os.getgid()}\n"


# systemd -------------------------------------------------------------------------------------


class _Unit(configparser.RawConfigParser):
    def optionxform(self, optionstr: str) -> str:
        return optionstr


def unit() -> configparser.RawConfigParser:
    parser = _Unit(strict=False, delimiters=("=",), comment_prefixes=("#",))
    parser.read(DEPLOY / "systemd/unbroken.service", "utf-8")
    return parser


def test_systemd_waits_for_a_drain_and_reloads(tmp_path: Path) -> None:
    text = (DEPLOY / "systemd/unbroken.toml").read_text("utf-8")
    config = load_text(text, tmp_path, "/run/credentials/unbroken.service")
    service = unit()["Service"]
    assert int(service["TimeoutStopSec"]) == config.drain_s + AFTER_DRAIN_S
    assert service["KillMode"] == "mixed"
    assert shlex.split(service["ExecReload"]) == ["/bin/kill", "-HUP", "$MAINPID"]
    assert service["RestartPreventExitStatus"] == "2"
    given = {service["LoadCredential"].split(":")[0]}
    assert given == set(re.findall(r"unbroken\.service/([\w-]+)", text))
    assert int(service["LimitNOFILE"]) >= 2 * config.limits.max_connections + 256
    assert int(service["MemoryHigh"].removesuffix("G")) << 30 > config.limits.max_buffer_bytes


def test_the_service_has_few_rights() -> None:
    service = unit()["Service"]
    for name in ("DynamicUser", "NoNewPrivileges", "ProtectHome", "PrivateTmp", "PrivateDevices"):
        assert service[name] == "yes", name
    assert service["ProtectSystem"] == "strict"
    assert service["CapabilityBoundingSet"] == ""
    assert service["Environment"].split()[0] == "TMPDIR=%t/" + service["RuntimeDirectory"]
    words = (DEPLOY / "systemd/unbroken.service").read_text("utf-8")
    assert not re.search(r"^Environment.*(KEY|SECRET)", words, re.MULTILINE)


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = program("systemd-analyze")
    text = (DEPLOY / "systemd/unbroken.service").read_text("utf-8")
    start = "/opt/unbroken/bin/unbroken"
    assert text.count(f"={start} ") == 1
    there = tmp_path / "unbroken.service"
    there.write_text(text.replace(f"={start} ", "=/bin/true "))
    said = subprocess.run([analyze, "verify", there], capture_output=True, text=True, check=False)
    ours = [line for line in said.stderr.splitlines() if "unbroken.service" in line]
    if said.returncode != 0 and not ours:
        pytest.skip(f"systemd-analyze does not run here: {said.stderr.strip()[:200]}")
    assert (said.returncode, ours) == (0, [])
    said = subprocess.run(
        [analyze, "security", "--offline=true", "--threshold=20", there],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout[-500:]


# Container -----------------------------------------------------------------------------------


def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "container/Containerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    found = [line.partition(" ") for line in joined.splitlines() if line.strip()]
    return [(name, rest.strip()) for name, _, rest in found]


def last_stage() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, rest in instructions():
        if name == "FROM":
            found = {}
        found.setdefault(name, []).append(rest)
    return found


def test_the_image_runs_the_gateway_and_hears_sigterm() -> None:
    stage = last_stage()
    (entry,), (command,) = stage["ENTRYPOINT"], stage["CMD"]
    words = json.loads(entry) + json.loads(command)  # a list, so no shell stands before it
    assert words[0].startswith("/opt/unbroken/bin/")
    assert Path(words[0]).name == "unbroken"
    assert words[1:] == ["serve", "--config", "/etc/unbroken/unbroken.toml"]
    assert stage["STOPSIGNAL"] == ["SIGTERM"]
    assert stage["EXPOSE"] == [str(ports_of(GatewayConfig().listen))]


def test_the_image_has_no_root_and_nothing_to_build_with() -> None:
    stage = last_stage()
    (user,) = stage["USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "Kubernetes needs numbers"
    names = [name for name, _ in instructions()]
    assert names.index("USER", names.index("USER")) > max(
        n for n, name in enumerate(names) if name in ("COPY", "RUN")
    )
    assert stage["COPY"] == ["--from=build /opt/unbroken /opt/unbroken"]
    assert any("uninstall" in each and "pip" in each for each in stage["RUN"])
    assert not any("apt" in rest for name, rest in instructions() if name == "RUN")
    built = " ".join(rest for name, rest in instructions() if name == "RUN")
    assert "unbroken[gateway,redis,otel]" in built
    assert "--constraint constraints.txt" in built
    assert "TMPDIR=/run/unbroken" in stage["ENV"][0]


def test_the_images_healthcheck_finds_a_gateway(tmp_path: Path) -> None:
    """Its Python code is run, against the port that it names."""
    (check,) = last_stage()["HEALTHCHECK"]
    words = json.loads(check[check.index("[") :])
    assert words[0] == "/opt/unbroken/bin/python"
    assert f"127.0.0.1:{ports_of(GatewayConfig().listen)}/healthz" in words[-1]
    compile(words[-1], "healthcheck", "exec")


def test_only_the_wheels_sources_reach_a_builder() -> None:
    text = (DEPLOY / "container/Containerfile.dockerignore").read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    kept = {line[1:] for line in lines if line.startswith("!")}
    copied = [rest.split()[:-1] for name, rest in instructions() if name == "COPY"][:2]
    assert kept == {each for words in copied for each in words}
    assert all((CHECKOUT / each).exists() for each in kept)


def test_the_image_builds() -> None:
    builder = next((p for p in ("podman", "buildah", "docker") if shutil.which(p)), None)
    if builder is None:
        pytest.skip("needs podman, buildah or docker")
    alive = subprocess.run([builder, "info"], capture_output=True, check=False)
    if alive.returncode != 0 or os.environ.get("UNBROKEN_BUILD_IMAGE") != "1":
        pytest.skip(f"needs {builder} that runs, and UNBROKEN_BUILD_IMAGE=1")
    subprocess.run(
        [builder, "build", "-f", "deploy/container/Containerfile", "-t", "unbroken:test", "."],
        cwd=CHECKOUT, check=True, capture_output=True,
    )  # fmt: skip


# nginx and HAProxy ---------------------------------------------------------------------------


def directives(name: str) -> dict[str, str]:
    lines = (DEPLOY / name).read_text("utf-8").splitlines()
    found = [re.fullmatch(r"\s*(\w+) +(.*?);\s*(#.*)?", line) for line in lines]
    return {each[1]: each[2] for each in found if each}


def test_the_proxies_numbers_fit_the_gateways() -> None:
    limits, heartbeat_s = LimitsConfig(), 15.0
    nginx = directives("nginx/unbroken_proxy.conf")
    assert nginx["proxy_http_version"] == "1.1"
    assert nginx["proxy_buffering"] == "off"
    assert seconds(nginx["proxy_read_timeout"]) > 2 * heartbeat_s
    assert int(nginx["client_max_body_size"].removesuffix("m")) << 20 == limits.max_request_bytes
    assert "non_idempotent" not in nginx["proxy_next_upstream"]
    for name in ("nginx/unbroken.conf", "compose/nginx.conf"):
        assert seconds(directives(name)["keepalive_timeout"]) < limits.keep_alive_s
    haproxy = (DEPLOY / "haproxy/haproxy.cfg").read_text("utf-8")
    timeouts = dict(re.findall(r"^ +timeout ([\w-]+) +(\w+)", haproxy, re.MULTILINE))
    assert min(seconds(timeouts[name]) for name in ("client", "server")) > 2 * heartbeat_s
    assert seconds(timeouts["http-keep-alive"]) < limits.keep_alive_s
    assert f"gt {limits.max_request_bytes} " in haproxy
    assert re.search(r"^ +retry-on conn-failure$", haproxy, re.MULTILINE)


def test_the_configurations_pass_the_gateways_own_check(tmp_path: Path) -> None:
    """As a user would look at one, with the command."""
    text = (DEPLOY / "systemd/unbroken.toml").read_text("utf-8")
    load_text(text, tmp_path, "/run/credentials/unbroken.service")
    assert tomllib.loads(text)["callers"]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("UNBROKEN_")}
    said = subprocess.run(
        unbroken("serve", "--config", str(tmp_path / "unbroken.toml"), "--check-config"),
        capture_output=True, text=True, check=False, env=clean,
    )  # fmt: skip
    assert said.returncode == 0, said.stderr
    assert "the configuration is fine" in said.stdout + said.stderr
