"""Which environment variables a deployment may set: a model's own, and none that something else in a replica reads."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from pydantic import ValidationError

from docs.make_settings import variables
from management.api import parsing, schemas
from management.configuration import Settings
from management.domain.environment_names import allowed, allowed_in_secrets
from management.errors import InvalidRequest
from management.settings import ApiSettings
from management.wording.errors import of_error
from runners.settings import Settings as RunnerSettings
from tests.management.api.test_schemas import CONFIG, request

NATIVE = """
    LD_PRELOAD LD_AUDIT LD_LIBRARY_PATH GLIBC_TUNABLES GCONV_PATH GETCONF_DIR LOCPATH NLSPATH TZDIR TZ MALLOC_TRACE
    MALLOC_PERTURB_ MALLOC_ARENA_MAX GLIBCXX_FORCE_NEW HOSTALIASES LOCALDOMAIN RES_OPTIONS RESOLV_HOST_CONF NIS_PATH
    LIBC_FATAL_STDERR_ POSIXLY_CORRECT LANG LC_ALL LANGUAGE TMP TEMP JE_MALLOC_CONF TCMALLOC_STACKTRACE_METHOD
    OPENSSL_CONF OPENSSL_MODULES OPENSSL_ENGINES OPENSSL_CONF_INCLUDE SSLKEYLOGFILE SSL_CERT_FILE CTLOG_FILE RANDFILE
    GNUTLS_SYSTEM_PRIORITY_FILE KRB5_CONFIG KRB5CCNAME SASL_PATH LDAPCONF NETRC CURL_HOME OMP_NUM_THREADS
    GOMP_SPINCOUNT KMP_AFFINITY MKL_NUM_THREADS MKLROOT OPENBLAS_NUM_THREADS GOTO_NUM_THREADS BLIS_NUM_THREADS
    TBB_NUM_THREADS DNNL_VERBOSE ONEDNN_MAX_CPU_ISA CUDA_MODULE_LOADING CUDNN_LOGINFO_DBG NCCL_NET_PLUGIN
    CUBLAS_WORKSPACE_CONFIG OCL_ICD_VENDORS OCL_ICD_FILENAMES ZE_ENABLE_ALT_DRIVERS VK_LAYER_PATH LIBVA_DRIVERS_PATH
    HSA_TOOLS_LIB ROCR_VISIBLE_DEVICES UCX_MODULE_DIR OMPI_MCA_x GDAL_DRIVER_PATH PROJ_LIB MAGICK_CONFIGURE_PATH
    FONTCONFIG_FILE XDG_CONFIG_HOME QT_PLUGIN_PATH GTK_MODULES GIO_EXTRA_MODULES I_MPI_HYDRA_BOOTSTRAP FI_PROVIDER
    G_SLICE G_MESSAGES_DEBUG HWLOC_XMLFILE MAGIC MI_OPTION_X OUTPUT_CHARSET INPUTRC WGETRC TAR_OPTIONS XZ_OPT
    PSYCOPG_IMPL CRYPTOGRAPHY_OPENSSL_NO_LEGACY ANYLIB_PLUGIN_PATH ANYLIB_OPTIONS
"""
RUNTIMES = """
    PYTHONSTARTUP PYTHONBREAKPOINT PERL5LIB PERL5OPT PERL5DB RUBYOPT RUBYLIB NODE_OPTIONS NODE_PATH JAVA_TOOL_OPTIONS
    JDK_JAVA_OPTIONS CLASSPATH LUA_INIT LUA_PATH PHPRC R_PROFILE JULIA_LOAD_PATH GOTRACEBACK GODEBUG
    DOTNET_STARTUP_HOOKS CORECLR_PROFILER COMPLUS_X ERL_FLAGS GEM_HOME BASH_ENV ENV IFS PS4 PROMPT_COMMAND SHELLOPTS
    ZDOTDIR EDITOR PAGER LESSOPEN BROWSER VIRTUAL_ENV CONDA_PREFIX UVICORN_ROOT_PATH WEB_CONCURRENCY GUNICORN_CMD_ARGS
    FORWARDED_ALLOW_IPS CIRCUSCTL_ENDPOINT PGHOST PGPASSFILE ALL_PROXY TORCH_HOME TORCHINDUCTOR_CACHE_DIR
    PYTORCH_CUDA_ALLOC_CONF TF_CPP_MIN_LOG_LEVEL XLA_FLAGS JAX_PLATFORMS NUMBA_CACHE_DIR TRITON_CACHE_DIR HF_HOME
    HF_ENDPOINT TRANSFORMERS_CACHE TOKENIZERS_PARALLELISM RAYON_NUM_THREADS NLTK_DATA SENTRY_DSN DD_TRACE_ENABLED
    NEW_RELIC_LICENSE_KEY OTEL_EXPORTER_OTLP_ENDPOINT S3_ENDPOINT_URL RUST_LOG MPLBACKEND
"""
FREE = """
    LOG_LEVEL GREETING THRESHOLD TOP_K TEMPERATURE BATCH_SIZE MAX_LENGTH MODEL_NAME MODEL_DIR APP_CONFIG_PATH LABELS
    DEFAULT_LANGUAGE REGION HOSPITAL_ID ECHO_VERSION SECRET_OF_THE_MODEL FEATURE_FLAGS DEBUG A TENANT_2 DATA_DIR
"""
SERVED = (
    "bentoml",
    "uvicorn",
    "starlette",
    "aiohttp",
    "requests",
    "urllib3",
    "onnxruntime",
    "openvino",
    "numpy",
    "PIL",
)
"""Packages of which every replica may import any."""
EXAMPLES = {"FOO", "BBB"}
"""Names that stand in docstrings and tests of those packages."""
_READ = re.compile(r"(?:environ(?:\.get|\.setdefault|\.pop)?|getenv)[\[(] ?[\"']([A-Z][A-Z0-9_]+)[\"']")


def names_read_by(package: str) -> set[str]:
    """The variables that a package's own code asks for."""
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations
    files = Path(spec.submodule_search_locations[0]).rglob("*.py")
    return {name for file in files for name in _READ.findall(file.read_text(encoding="utf-8"))} - EXAMPLES


@pytest.mark.parametrize("names", [NATIVE, RUNTIMES], ids=["native", "runtimes"])
def test_what_loaders_runtimes_and_libraries_read_is_refused(names: str) -> None:
    assert [name for name in names.split() if allowed(name)] == []


@pytest.mark.parametrize("package", SERVED)
def test_what_an_installed_package_reads_is_refused(package: str) -> None:
    assert [name for name in names_read_by(package) if allowed(name)] == []


def test_packages_do_read_variables() -> None:
    assert len(set.union(*map(names_read_by, SERVED))) > 50


def test_names_of_a_models_own_are_allowed() -> None:
    assert [name for name in FREE.split() if not allowed(name)] == []


def test_our_own_settings_are_refused_even_where_the_operator_allows_everything() -> None:
    ours = {variable for settings in (Settings, RunnerSettings) for variable in variables(settings)}
    ours |= {"MODEL_PATH", "BENTOML_HOME", "BENTO_CLOUD_API_KEY", "PROMETHEUS_MULTIPROC_DIR", "PORT", "PATH", "HOME"}
    assert [name for name in ours if allowed(name, ["*"])] == []


def test_the_operators_patterns_allow_more() -> None:
    patterns = ["OMP_NUM_THREADS", "TF_*"]
    assert [allowed(name, patterns) for name in ("OMP_NUM_THREADS", "TF_X", "OMP_X", "LD_PRELOAD")] == [
        True,
        True,
        False,
        False,
    ]


async def test_the_setting_reaches_the_bodies_check() -> None:
    body = {"config": CONFIG | {"environment_variables": {"OMP_NUM_THREADS": "1"}}}
    with pytest.raises(InvalidRequest) as caught:
        await parsing.body(request(body), schemas.DeployBody)
    assert "ATELIER_ALLOWED_ENVIRONMENT" in str(of_error(caught.value, "en")[1])
    settings = {"allowed_environment": ApiSettings(allowed_environment="OMP_*").allowed_environment}
    found = await parsing.body(request(body, settings=settings), schemas.DeployBody)
    assert found.config.environment_variables == {"OMP_NUM_THREADS": "1"}


@pytest.mark.parametrize("text", ["lower", "A B", "[A-Z]", "A;B"])
def test_a_pattern_that_is_none_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ValidationError, match="capital letters"):
        ApiSettings(allowed_environment=text)


async def test_a_variable_of_an_earlier_version_can_be_removed() -> None:
    told = {"LD_PRELOAD": None, "OMP_NUM_THREADS": None, "GREETING": "hello"}
    found = await parsing.body(request({"config": {"environment_variables": told}}), schemas.UpdateBody)
    assert found.config.environment_variables == told


@pytest.mark.parametrize("told", [{"LD_PRELOAD": "x", "A": None}, {"a b": None}, {"": None}])
async def test_only_a_plain_name_can_be_removed_and_nothing_else_passes_with_it(told: dict[str, str | None]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        await parsing.body(request({"config": {"environment_variables": told}}), schemas.UpdateBody)
    assert [problem.kind for problem in caught.value.problems] == ["variable"]


@pytest.mark.parametrize(
    "name",
    [
        *("R_LIBS_USER", "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION", "UNITXT_ALLOW_UNVERIFIED_CODE", "GRADIO_SHARE"),
        *("LANGCHAIN_TRACING_V2", "FLASK_APP", "DJANGO_SETTINGS_MODULE", "MLFLOW_TRACKING_URI", "WANDB_API_KEY"),
        *("SENTRY_DSN", "GDAL_DRIVER_PATH", "XGBOOST_BUILD_DOC", "RAY_ADDRESS", "REDIS_URL", "FONTCONFIG_FILE"),
    ],
)
def test_what_model_tools_and_their_services_read_is_refused(name: str) -> None:
    assert not allowed(name)


@pytest.mark.parametrize("name", ["GREETING", "ECHO_VERSION", "LOG_LEVEL", "THRESHOLD", "TOP_K", "APP_MODE"])
def test_what_a_model_of_ones_own_may_read_is_allowed(name: str) -> None:
    assert allowed(name)


@pytest.mark.parametrize(
    "name",
    [
        *("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        *("AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_WEB_IDENTITY_TOKEN_FILE", "OPENAI_API_KEY"),
        *("GOOGLE_APPLICATION_CREDENTIALS", "AZURE_CLIENT_SECRET", "PGPASSWORD", "REDIS_URL", "WANDB_API_KEY", "NETRC"),
    ],
)
def test_credentials_are_allowed_in_secrets_alone(name: str) -> None:
    assert allowed_in_secrets(name)
    assert not allowed(name)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "LD_PRELOAD",
            "PYTHONPATH",
            "PATH",
            "HOME",
            "BENTOML_HOME",
            "ATELIER_SECRETS",
            "ATELIER_REPLICA_ID",
            "TMPDIR",
        ),
        *("HTTPS_PROXY", "SSL_CERT_FILE", "OPENSSL_CONF", "GIT_SSH_COMMAND", "PIP_INDEX_URL", "CUDA_VISIBLE_DEVICES"),
        *("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CA_BUNDLE", "AWS_DATA_PATH", "PGSERVICEFILE"),
        *(
            "HF_HOME",
            "HF_MODULES_CACHE",
            "HF_HUB_TRUST_REMOTE_CODE",
            "LD_TOKEN_FILE",
            "PYTHON_ENDPOINT_URL",
            "hf_token",
        ),
    ],
)
def test_what_loads_code_or_breaks_a_replica_is_allowed_nowhere(name: str) -> None:
    assert not allowed_in_secrets(name)


@pytest.mark.parametrize("name", ["GREETING", "DATABASE_URL", "MODEL_PASSWORD", "APP_CONFIG"])
def test_a_secret_may_set_what_a_plain_variable_may(name: str) -> None:
    assert allowed_in_secrets(name)
    assert allowed_in_secrets("OMP_NUM_THREADS", ["OMP_*"])
