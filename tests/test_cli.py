"""What the command line has beside its commands."""

import subprocess
import sys
from pathlib import Path

import autoprune

AUTOPRUNE = str(Path(sys.executable).with_name("autoprune"))


def call(*words, **environment):
    return subprocess.run([AUTOPRUNE, *words], capture_output=True, text=True, env=environment or None, timeout=60)


def test_the_version():
    assert call("--version").stdout == f"autoprune {autoprune.__version__}\n"


def test_a_shell_completes_commands_tasks_and_configs(tmp_path):
    (tmp_path / "diary.yaml").touch()
    asked = {"_AUTOPRUNE_COMPLETE": "complete_bash", "COMP_CWORD": "2", "HOME": str(tmp_path)}
    done = subprocess.run(
        [AUTOPRUNE], env=asked | {"COMP_WORDS": "autoprune run di"}, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.split() == ["diary.yaml", "digits", "digits-segmentation", "digits-detection", "diabetes"]
    done = call(**asked | {"COMP_WORDS": "autoprune do", "COMP_CWORD": "1"})
    assert done.stdout.split() == ["doctor"]
