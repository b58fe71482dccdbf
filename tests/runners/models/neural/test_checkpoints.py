"""Which checkpoints are loaded, which are refused and why, and which engine is chosen."""

from __future__ import annotations

import json
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from runners.models.summarizers import choice
from runners.models.summarizers.base import Summarizer
from runners.models.summarizers.neural import checkpoints, loading
from runners.models.summarizers.neural.checkpoints import CheckpointError
from runners.models.summarizers.neural.deepseek_ocr import DeepSeekOcr
from runners.models.summarizers.neural.seq2seq import Seq2Seq
from tests.doubles import tiny_checkpoints


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.bart(tmp_path_factory.mktemp("bart"))


@pytest.fixture
def copy(bart: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bart, tmp_path / "copy"))


def configure(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def refusal(folder: Path | str) -> str:
    with pytest.raises(CheckpointError) as caught:
        loading.load(checkpoints.find(str(folder)), threads=1)
    return str(caught.value)


def no_extractive() -> Summarizer:
    raise AssertionError("not asked for")


def test_a_config_says_what_a_checkpoint_is(bart: Path, copy: Path) -> None:
    assert checkpoints.find(str(bart)).kind == "seq2seq"
    configure(copy, model_type="deepseek_ocr2", is_encoder_decoder=False)
    assert checkpoints.find(str(copy)).kind == "deepseek-ocr"


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    assert "has no config.json" in refusal(tmp_path)


def test_a_name_that_is_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert "There is no checkpoint nobody/nothing" in refusal("nobody/nothing")
    assert "There is no checkpoint /no/such/folder" in refusal("/no/such/folder")


def test_a_model_that_writes_nothing_new_is_refused(copy: Path) -> None:
    configure(copy, model_type="bert", is_encoder_decoder=False)
    assert "no summarization checkpoint: its model type is bert" in refusal(copy)


def test_a_model_that_listens_is_refused(copy: Path) -> None:
    configure(copy, model_type="whisper", is_encoder_decoder=True)
    assert "no summarization checkpoint" in refusal(copy)


def test_code_in_a_checkpoint_does_not_run(copy: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    (copy / "own.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    configure(copy, model_type="own", auto_map={"AutoConfig": "own.Own", "AutoModelForSeq2SeqLM": "own.Model"})
    assert "trust_remote_code is off" in refusal(copy)
    assert not ran.exists()


def test_the_first_deepseek_ocr_is_refused_with_the_name_of_one_that_is_read(copy: Path) -> None:
    configure(copy, model_type="deepseek_vl_v2", auto_map={"AutoModel": "modeling.Model"})
    assert "deepseek-community/DeepSeek-OCR-2" in refusal(copy)


def test_pickles_are_refused(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    (copy / "model.safetensors").unlink()
    torch.save(weights, copy / "pytorch_model.bin")
    assert "only as pickles" in refusal(copy)


@pytest.mark.parametrize(
    ("listed", "said"),
    [
        (["config.json", "pytorch_model.bin"], "only as pickles"),
        (["config.json", "README.md"], "has no weights"),
        (OSError("no network"), "has no weights"),
    ],
)
def test_pickles_of_the_hub_are_named_though_none_comes_down(
    copy: Path, monkeypatch: pytest.MonkeyPatch, listed: list[str] | Exception, said: str
) -> None:
    def files(self: object, name: str) -> list[str]:
        assert name == "some/pickles"
        if isinstance(listed, Exception):
            raise listed
        return listed

    (copy / "model.safetensors").unlink()
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: str(copy))
    monkeypatch.setattr("huggingface_hub.HfApi.list_repo_files", files)
    assert said in refusal("some/pickles")


def test_a_checkpoint_without_weights_is_refused(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert "has no weights" in refusal(copy)


def test_a_missing_shard_is_named(copy: Path) -> None:
    (copy / "model.safetensors").rename(copy / "model-00001.safetensors")
    index = {"weight_map": {"a": "model-00001.safetensors", "b": "model-00002.safetensors"}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    assert "model-00002.safetensors is not there" in refusal(copy)


def test_a_missing_weight_is_not_made_up(copy: Path) -> None:
    weights = load_file(copy / "model.safetensors")
    del weights["model.decoder.layers.0.fc1.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert "1 weights, such as model.decoder.layers.0.fc1.weight, are missing" in refusal(copy)


@pytest.mark.parametrize(
    "data", [b"", b"<html>", struct.pack("<Q", 9) + b'{"a": {}}', struct.pack("<Q", 2**62) + b"{}"]
)
def test_a_file_that_is_no_safetensors_is_named(copy: Path, data: bytes) -> None:
    (copy / "model.safetensors").write_bytes(data)
    assert "is no safetensors file" in refusal(copy)


def test_a_checkpoint_above_the_free_memory_is_refused_before_it_is_read(copy: Path) -> None:
    header = json.dumps({"huge": {"dtype": "BF16", "shape": [10**6, 10**7], "data_offsets": [0, 2 * 10**13]}}).encode()
    (copy / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    assert "as float32 it needs 48000.0 GB, and " in refusal(copy)


def test_a_damaged_tokenizer_is_one_clear_error(copy: Path) -> None:
    (copy / "tokenizer.json").write_text("{")
    assert "cannot be loaded: " in refusal(copy)


def test_a_checkpoint_is_run_as_it_was_optimized(copy: Path) -> None:
    (copy / "atelier.json").write_text(json.dumps({"dtype": "bfloat16", "compile": False, "device": "cpu"}))
    checkpoint = checkpoints.find(str(copy))
    cpu = torch.device("cpu")
    assert loading.load(checkpoint, device=cpu, threads=1).model.dtype == torch.bfloat16
    assert loading.load(checkpoint, device=cpu, threads=1, precision="float32").model.dtype == torch.float32


def test_bfloat16_that_a_gpu_only_emulates_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert loading._dtype("auto", None, cuda) == torch.float16
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation=True: True)
    assert loading._dtype("auto", None, cuda) == torch.bfloat16


def test_what_was_measured_on_another_device_does_not_count(copy: Path) -> None:
    (copy / "atelier.json").write_text(json.dumps({"dtype": "float16", "compile": True, "device": "cuda"}))
    loaded = loading.load(checkpoints.find(str(copy)), device=torch.device("cpu"), threads=1)
    assert loaded.dtype == torch.float32


def test_a_compiled_checkpoint_is_compiled_as_it_loads(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    monkeypatch.setattr("torch.nn.Module.compile", lambda part, **_: compiled.append(type(part).__name__))
    (copy / "atelier.json").write_text(json.dumps({"dtype": "float32", "compile": True, "device": "cpu"}))
    loading.load(checkpoints.find(str(copy)), device=torch.device("cpu"), threads=1)
    assert compiled == ["BartEncoder", "BartDecoder"]


@pytest.mark.parametrize("said", ["{", "[]", '{"dtype": "int2", "compile": false}', '{"dtype": "float32"}'])
def test_a_foreign_atelier_json_is_refused(copy: Path, said: str) -> None:
    (copy / "atelier.json").write_text(said)
    assert "atelier.json" in refusal(copy)


def test_auto_takes_the_engine_of_the_checkpoint(bart: Path, tmp_path: Path) -> None:
    chosen = choice.choose("auto", str(bart), extractive=no_extractive, threads=1)
    assert isinstance(chosen, Seq2Seq)
    assert chosen.model == bart.name
    pictures = tiny_checkpoints.deepseek_ocr2(tmp_path / "deepseek")
    assert isinstance(choice.choose("auto", str(pictures), extractive=no_extractive, threads=1), DeepSeekOcr)


def test_without_a_checkpoint_auto_is_extractive() -> None:
    class Extractive(Exception):
        pass

    def extractive() -> Summarizer:
        raise Extractive

    for engine in ("auto", "extractive"):
        with pytest.raises(Extractive):
            choice.choose(engine, None, extractive=extractive)


@pytest.mark.parametrize(
    ("engine", "given", "said"),
    [
        ("magic", False, "There is no engine magic"),
        ("extractive", True, "takes no checkpoint"),
        ("seq2seq", False, "needs a checkpoint"),
        ("deepseek-ocr", True, "is a seq2seq checkpoint, and the engine asked for is deepseek-ocr"),
    ],
)
def test_a_wrong_combination_is_one_clear_error(bart: Path, engine: str, given: bool, said: str) -> None:
    with pytest.raises(CheckpointError, match=said):
        choice.choose(engine, str(bart) if given else None, extractive=no_extractive)


def test_without_transformers_the_error_says_what_to_install(bart: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers.models.auto.modeling_auto", None)
    with pytest.raises(CheckpointError, match="needs transformers; run: make serve MODEL_PATH"):
        choice.choose("auto", str(bart), extractive=no_extractive)
