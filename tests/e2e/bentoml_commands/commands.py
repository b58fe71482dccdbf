"""Every command and option of BentoML's program that speaks to a server, in an order that gives each what it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WORKS: Final = ""


@dataclass(frozen=True)
class Command:
    """A command line, and what becomes of it."""

    line: str
    """Its words after ``bentoml``, as a shell reads them."""
    refused: str = WORKS
    """Words that it prints where it fails; empty where it works."""
    because: str = ""
    """Why it fails, as the page says it."""
    prints: str = ""
    """Words that it prints where it works."""
    given: str = ""
    """Its standard input."""
    key: str = ""
    """What its user types in a terminal."""


LOGIN: Final = (
    Command("cloud login --endpoint $URL --api-token $TOKEN", prints="Logged in as"),
    Command("cloud login --endpoint $URL/bentoml --api-token $TOKEN", prints="Logged in as"),
    Command("cloud current-context", prints="api_token"),
    Command("cloud list-context", prints="default"),
    Command("cloud update-current-context default", prints="Successfully switched"),
)
STORE: Final = (
    Command("push taught:1.0.0", prints="Successfully pushed"),
    Command("push --force --threads 2 taught:1.0.0", prints="Successfully pushed"),
    Command("push echo:1.0.0"),
    Command("pull --force --with-models taught:1.0.0", prints="Successfully pulled"),
    Command("models push --force --threads 2 lesson:1", prints="Successfully pushed"),
    Command("models pull --force lesson:1", prints="Successfully pulled"),
    Command("pull missing:1", "not found on remote Bento store", "there is no such Bento"),
)
SECRETS: Final = (
    Command("secret create hf HF_TOKEN=hf_abc --type env --stage runtime -d tokens --cluster default"),
    Command("secret create dotenv --from-file secrets.env"),
    Command("secret create file key.json=@key.json --type file --path '$BENTOML_HOME/keys'"),
    Command("secret apply hf HF_TOKEN=hf_def --type env --stage runtime -d tokens --cluster default"),
    Command("secret apply file key.json=@key.json --type file --path '$BENTOML_HOME/keys'"),
    Command("secret list --search hf -o json", prints="HF_TOKEN"),
    Command("secret create s A=1 --stage build", "stage must be runtime", "environments are made without secrets"),
    Command("secret create s A=1 --stage all", "stage must be runtime", "environments are made without secrets"),
    Command(
        "secret create s a=b --type file --path /etc",
        "must be a folder below $BENTOML_HOME",
        "files are given to replicas in a folder of their own, `$ATELIER_SECRETS/NAME`",
    ),
    Command("secret delete dotenv --cluster default"),
)
DEPLOYMENTS: Final = (
    Command(
        "deploy taught:1.0.0 -n lesson --cluster default --scaling-min 0 --scaling-max 3 --instance-type cpu.small "
        "--strategy Recreate --label team=vision --env LESSON=1 --secret hf --access-authorization true --timeout 60",
        prints="is ready",
    ),
    Command("deploy -f deployment.yaml --no-wait"),
    Command("deploy -f - --no-wait", given="name: piped\nbento: taught:1.0.0\n"),
    Command("""deploy --config-dict '{"name": "dict", "bento": "taught:1.0.0"}' --no-wait"""),
    Command(
        "deploy taught:1.0.0 -n lesson --no-wait", "MODEL_ALREADY_EXISTS", "the name is taken; `update` changes it"
    ),
    Command(
        "deployment create taught:1.0.0 -n created --access-authorization false --strategy RampedSlowRollout --no-wait"
    ),
    Command("deployment get lesson --cluster default -o json", prints="LESSON"),
    Command("deployment list --cluster default --search less -o yaml", prints="lesson"),
    Command("deployment list --label team=vision", prints="lesson"),
    Command("deployment list-instance-types --cluster default -o json", prints="cpu.small"),
    Command(
        "deployment update lesson --bento taught:1.0.0 --scaling-min 1 --scaling-max 4 --instance-type cpu.small "
        "--strategy BestEffortControlledRollout --label team=audio --env LESSON=2 --secret hf "
        "--access-authorization false --cluster default"
    ),
    Command("deployment update created -f update.yaml"),
    Command("""deployment update dict --config-dict '{"name": "dict", "bento": "taught:1.0.0"}'"""),
    Command("deployment apply -f applied.yaml"),
    Command("deployment apply taught:1.0.0 -n fresh --scaling-min 0 --scaling-max 1"),
    Command(
        "deployment apply taught:1.0.0 -n fresh --scaling-max 1",
        "Deployment cluster cannot be changed",
        "the program compares `None` with the name of the cluster: say `--cluster default`",
    ),
    Command("deployment apply taught:1.0.0 -n fresh --cluster default --scaling-max 1"),
    Command(
        "deploy taught:1.0.0 -n x --instance-type gpu.8",
        "instance_type must be one of",
        "there is no such type",
    ),
    Command("deploy taught:1.0.0 -n x --env LD_PRELOAD=x", "LD_PRELOAD", "a variable that a library reads"),
    Command("deployment terminate lesson --cluster default --wait", prints="terminated"),
    Command(
        "deployment start lesson --cluster default",
        "verify() must be called first",
        "a fault of the program, before it asks the server; `deployment update lesson` starts it",
    ),
    Command("deployment update lesson --scaling-min 1"),
    Command("deployment delete lesson --cluster default"),
    Command("deployment get missing", "is not found", "there is no such deployment"),
    Command("code . --attach missing --cluster default", "is not found", "there is no such deployment"),
    Command(
        "code . --env A=1 --secret hf --cluster default",
        "No such file or directory",
        "a fault of the program, before it asks the server; with `python: {lock_packages: false}` it works",
        key="\r",
    ),
)
TOKENS: Final = (
    Command("api-token create ci -d builds --scope api --scope read_cluster --expires 30d -o json", prints="atl_"),
    Command("api-token list --search ci -o json", prints="ci"),
    Command("api-token create t --scope everything", "scopes must be one of", "there are five scopes"),
    Command("api-token get missing", "not found", "there is no such token"),
    Command("api-token delete missing", "not found", "there is no such token"),
)
SECTIONS: Final = {
    "Login": LOGIN,
    "Bentos and models": STORE,
    "Secrets": SECRETS,
    "Deployments": DEPLOYMENTS,
    "API tokens": TOKENS,
}


def table() -> str:
    """Return the page's table."""
    lines = ["| command | here |", "|---|---|"]
    for title, commands in SECTIONS.items():
        lines.append(f"| **{title}** | |")
        for command in commands:
            line = command.line.replace("|", "\\|")
            outcome = f"refused, `{command.refused}`: {command.because}" if command.refused else "works"
            lines.append(f"| `bentoml {line}` | {outcome} |")
    return "\n".join(lines) + "\n"
