"""What is built installs cleanly and runs without the repository."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from test_run import TASK

REPOSITORY = Path(__file__).parents[2]


def tracked(*places: str) -> list[str]:
    listed = subprocess.run(["git", "-C", REPOSITORY, "ls-files", *places], capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git repository")
    return [name for name in listed.stdout.split("\n") if name and (REPOSITORY / name).is_file()]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the source distribution, built from what git tracks."""
    place = tmp_path_factory.mktemp("built")
    source = place / "source"
    for name in tracked():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / name, target)
    build = "import sys; from setuptools.build_meta import *; to = sys.argv[1]; build_sdist(to), build_wheel(to)"
    done = subprocess.run([sys.executable, "-c", build, place], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,), (archive,) = place.glob("*.whl"), place.glob("*.tar.gz")
    return wheel, archive


@pytest.mark.slow
def test_the_wheel_holds_the_whole_package_its_licence_and_its_metadata(built):
    with zipfile.ZipFile(built[0]) as wheel:
        names = set(wheel.namelist())
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        said = message_from_bytes(wheel.read(metadata))
    assert set(tracked("autoprune")) <= names
    assert [name for name in names if name.endswith("licenses/LICENSE")]
    assert [name for name in names if name.endswith(".data/data/nni/training_services.json")]
    assert said["License-Expression"] == "Apache-2.0" and said["Author"]
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 13)} <= set(said.get_all("Classifier"))


@pytest.mark.slow
def test_the_source_distribution_holds_what_its_tests_and_commands_need(built):
    with tarfile.open(built[1]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {name for name in tracked() if not name.startswith(".")} <= names


@pytest.fixture
def programs(tmp_path, built):
    """A virtual environment that has the wheel, and this one's packages in place of downloads."""
    place = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    pip = [sys.executable, "-m", "pip", "--python", place / "bin" / "python", "install", "--quiet", "--no-deps"]
    subprocess.run([*pip, built[0]], check=True)
    (packages,) = place.glob("lib/*/site-packages")
    here = [each for each in sys.path if each.endswith("site-packages")]
    (packages / "others.pth").write_text("\n".join(here))
    return place / "bin"


@pytest.mark.slow
def test_a_wheel_runs_a_search_without_the_repository(programs, nni_home):
    place, port = nni_home.home / "work", str(nni_home.port)
    place.mkdir()
    (place / "quick.py").write_text(TASK)
    environment = {k: v for k, v in nni_home.environment.items() if k not in ("NNI_CONFIG_DIR", "PYTHONPATH")}

    def call(program, *words) -> str:
        command = [programs / program, *words]
        done = subprocess.run(command, env=environment, cwd=place, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    home = call("python", "-c", "import autoprune; print(autoprune.__file__)")
    assert home.startswith(str(programs.parent))
    assert "registered in" in call(
        "autoprune", "doctor", "--port", port
    )  # plain nnictl has the bridge before any search
    call("autoprune", "init", "--task", "quick.py", "--trials", "9")
    said = call("autoprune", "run", "digits.yaml", "--port", port)
    assert "9 of 9 trials done, 0 failed" in said
    (folder,) = (place / "outputs").iterdir()
    assert {"model.onnx", "model.pt2", "report.html"} <= {file.name for file in folder.iterdir()}
