"""An experiment's config file: NNI's fields, each of the right kind, before NNI itself sees any."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from autoprune.base.checked import STRICT, Count, Text, Whole, plainly
from autoprune.base.yaml_file import load_yaml
from autoprune.errors import UserError

if TYPE_CHECKING:
    from nni.experiment.config import ExperimentConfig


def _duration(value: Any) -> Any:
    number = re.fullmatch(r"(\d{1,9}(?:\.\d+)?) ?[smhd]", value, re.IGNORECASE) if isinstance(value, str) else None
    seconds = float(number[1]) if number else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds <= 10**9:
        raise ValueError("must be a time such as 30m, 2h or 1d")
    return value


def _devices(value: Any) -> Any:
    numbers = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    known = [str(each) for each in numbers if not isinstance(each, bool)]
    if len(known) != len(numbers) or len(set(known)) != len(known) or not all(map(str.isdecimal, known)):
        raise ValueError("must be numbers of GPUs such as [0, 1], each once")
    return value


Duration = Annotated[Any, AfterValidator(_duration)]
Devices = Annotated[Any, AfterValidator(_devices)]


class _Section(BaseModel):
    """A part of the config. As in NNI, upper and lower case and underscores in names do not matter."""

    model_config = ConfigDict(**STRICT, alias_generator=to_camel)

    @model_validator(mode="before")
    @classmethod
    def _spell(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        known = {each.lower(): each for each in cls.names()}
        spelt: dict[str, Any] = {}
        for name, value in content.items():
            right = known.get(str(name).lower().replace("_", "")) or name
            if right in spelt:
                raise ValueError(f"has {right} twice")
            spelt[right] = value
        return spelt

    @classmethod
    def names(cls) -> list[str]:
        """Return the names of the fields, as NNI's reference writes them."""
        return [str(field.alias) for field in cls.model_fields.values()]


class Algorithm(_Section):
    """A tuner or an assessor."""

    name: Text | None = None
    class_name: Text | None = None
    code_directory: Text | None = None
    class_args: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one(self) -> Algorithm:
        if (self.name is None) == (self.class_name is None):
            raise ValueError("must have either a name, of NNI's own, or a className")
        if (self.class_name is None) != (self.code_directory is None):
            raise ValueError("must have a codeDirectory, such as `.`, with a className and only with it")
        return self


class Local(_Section):
    """This machine as the training service."""

    platform: Literal["local"]
    trial_command: Text | None = None
    trial_code_directory: Text | None = None
    trial_gpu_number: Whole | None = None
    nni_manager_ip: Text | None = None
    debug: bool = False
    use_active_gpu: bool | None = None
    max_trial_number_per_gpu: Count = 1
    gpu_indices: Devices = None
    reuse_mode: bool = False


def _service(value: Any) -> Any:
    for each in value if isinstance(value, list) and value else [value]:
        if not isinstance(each, dict) or not isinstance(each.get("platform"), str):
            raise ValueError("must have a platform: {platform: local}")
        if each["platform"] == "local":
            Local.model_validate(each)
    return value


class Config(_Section):
    """All of it; what only other training services than ``local`` have is left to NNI."""

    experiment_name: Annotated[Text, Field(max_length=100)] | None = None
    experiment_type: Literal["hpo"] = "hpo"
    search_space_file: Text | None = None
    search_space: dict[str, Any] | None = None
    trial_command: Text
    trial_code_directory: Text = "."
    trial_concurrency: Annotated[int, Field(ge=1, le=1000)]
    trial_gpu_number: Whole | None = None
    max_experiment_duration: Duration = None
    max_trial_number: Count | None = None
    max_trial_duration: Duration = None
    nni_manager_ip: Text | None = None
    use_annotation: bool = False
    debug: bool = False
    log_level: Literal["fatal", "error", "warning", "info", "debug", "trace"] | None = None
    experiment_working_directory: Text = "~/nni-experiments"
    tuner_gpu_indices: Devices = None
    tuner: Algorithm | None = None
    assessor: Algorithm | None = None
    advisor: Algorithm | None = None
    training_service: Annotated[Any, AfterValidator(_service)]
    shared_storage: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _one_each(self) -> Config:
        if (self.search_space is None) == (self.search_space_file is None):
            raise ValueError("must have either a searchSpaceFile or a searchSpace")
        if (self.tuner is None) == (self.advisor is None):
            raise ValueError("must have a tuner: `className: autoprune.search.OptunaTuner`, or NNI's `name: TPE`")
        return self


def load_config(path: str | Path) -> ExperimentConfig:
    """Read an NNI config file, its paths made absolute.

    Raises:
        UserError: it is missing, is not YAML (with line and column), or is not a config that NNI takes.
    """
    return config_from(load_yaml(path), path)


def config_from(content: Any, path: str | Path) -> ExperimentConfig:
    """Return the config in what a file holds; see :func:`load_config`.

    Args:
        content: the fields, by name.
        path: the file; it need not be there.
    """
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not an NNI config: it must map names to values")
    names = {each for section in (Config, Algorithm, Local) for each in section.names()}
    with plainly(_dotted, sorted(names), where=f"{path}: "):
        checked = Config.model_validate(content)
    space = checked.search_space
    if checked.search_space_file is not None:
        space = load_yaml(Path(path).parent / Path(checked.search_space_file).expanduser())
    from nni.experiment.config import ExperimentConfig
    from nni.experiment.config.utils import internal

    services = checked.training_service if isinstance(checked.training_service, list) else [checked.training_service]
    internal.set_base_path(Path(path).parent)
    try:
        for each in services:
            internal.training_service_config_factory(each["platform"])  # which refuses what NNI does not have
        config = ExperimentConfig(**content).canonical_copy()
    except Exception as error:
        raise UserError(f"{path}: {refusal(error)}") from None
    finally:
        internal.unset_base_path()
    config.search_space = space
    return config


def refusal(error: Exception) -> str:
    """Return why NNI refuses a config, also where it only asserts."""
    text = " ".join(str(error).split())
    if text or error.__traceback__ is None:
        return text or type(error).__name__
    import traceback

    line = traceback.extract_tb(error.__traceback__)[-1].line or type(error).__name__
    return f"NNI refuses it: {line.removeprefix('assert ').replace('self.', '')} does not hold"


def _dotted(place: Any) -> str:
    words = [str(each) for each in place]
    return f"field {'.'.join(words)}" if words else "the config"
