"""The wheel: what it holds, and that it runs where nothing else of the project is."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path) -> str:
    """The output of a command that must succeed; outside the checkout and without its modules on the path."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # hatchling is one of the development requirements, so no isolated environment has to be filled.
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of an environment that has the wheel and its pinned requirements."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=True)
    pip = (folder / "bin/python", "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "install", "--constraint", ROOT / "constraints.txt", wheel, cwd=folder)
    return folder / "bin"


def names(wheel: Path) -> list[PurePosixPath]:
    return [PurePosixPath(name) for name in zipfile.ZipFile(wheel).namelist()]


def test_the_wheel_holds_the_three_packages_and_nothing_else(wheel: Path) -> None:
    folders = {name.parts[0] for name in names(wheel)}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {"pipeline", "stages", "spool"}


def test_the_wheel_holds_code_and_the_migration_template_only(wheel: Path) -> None:
    packaged = [name for name in names(wheel) if not name.parts[0].endswith(".dist-info")]
    assert {name.name if name.suffix != ".py" else "*.py" for name in packaged} <= {
        "*.py",
        "py.typed",
        "script.py.mako",
    }


def test_the_wheel_holds_every_module_of_the_checkout(wheel: Path) -> None:
    modules = {
        path.relative_to(ROOT).as_posix()
        for package in ("pipeline", "stages", "spool")
        for path in (ROOT / package).rglob("*.py")
    }
    assert modules <= {str(name) for name in names(wheel)}


def test_the_wheel_holds_the_migrations(wheel: Path) -> None:
    """An index of an older version is upgraded where there is no checkout."""
    assert any(name.match("spool/migrations/versions/*.py") for name in names(wheel))
    assert PurePosixPath("spool/migrations/env.py") in names(wheel)


@pytest.mark.parametrize("package", ["pipeline", "stages", "spool"])
def test_each_package_says_that_it_is_typed(wheel: Path, package: str) -> None:
    assert PurePosixPath(package, "py.typed") in names(wheel)


@pytest.mark.timeout(600)
def test_the_command_runs_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    assert "Usage" in run(installed / "pop3connector", "--help", cwd=tmp_path)


@pytest.mark.timeout(600)
def test_mail_is_delivered_by_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    """The demo runs the real pipeline as real processes, between servers of its own."""
    story = run(installed / "pop3connector", "demo", cwd=tmp_path)
    assert "delivered 4" in story
    assert list(tmp_path.iterdir()) == []
