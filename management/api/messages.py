"""What people read: the API's messages and errors in Chinese, French and English. Codes never change.

Chinese is the default, as in the document that this API mirrors, unless ATELIER_LANGUAGE says otherwise; a request's
Accept-Language comes first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final, Literal

Language = Literal["zh", "fr", "en"]
DEFAULT: Final[Language] = "zh"
FOREIGN: Final[Language] = "en"
"""For callers whose languages are none of ours."""
_LANGUAGES: Final[Mapping[str, Language]] = {"zh": "zh", "fr": "fr", "en": "en"}
_REFUSED: Final = re.compile(r"\s*q\s*=\s*0(\.0{0,3})?\s*\Z", re.ASCII)
_TAG: Final = re.compile(r"[a-z]{1,8}(-[a-z0-9]{1,8}){0,8}\Z", re.ASCII)
MOST_CHOICES: Final = 20  # entries of an Accept-Language header that are read

Texts = tuple[str, str, str]
"""Chinese, French, English."""

ERRORS: Final[Mapping[str, Texts]] = {
    "INTERNAL_ERROR": ("服务器内部错误", "Erreur interne du serveur", "Internal server error"),
    "INVALID_REQUEST": ("请求无效", "La requête n'est pas valide", "The request is not valid"),
    "INVALID_MODEL_CONFIG": (
        "模型配置无效",
        "La configuration du modèle n'est pas valide",
        "The model's configuration is not valid",
    ),
    "UNAUTHORIZED": (
        "需要有效的 API 密钥（X-API-Key）",
        "Une clé d'API valide est requise (X-API-Key)",
        "A valid API key is required (X-API-Key)",
    ),
    "FORBIDDEN": (
        "此 API 密钥无权执行该操作",
        "Cette clé d'API ne permet pas cette opération",
        "The role of this API key does not allow this operation",
    ),
    "NOT_FOUND": ("路径不存在", "Aucune route de ce nom", "This path does not exist"),
    "MODEL_NOT_FOUND": ("指定的模型不存在", "Le modèle indiqué n'existe pas", "This model does not exist"),
    "METHOD_NOT_ALLOWED": ("不支持该请求方法", "Méthode non permise ici", "This method is not allowed here"),
    "INFERENCE_TIMEOUT": ("推理超时", "L'inférence a pris trop de temps", "The inference took too long"),
    "REQUEST_TIMEOUT": (
        "请求体未及时到达",
        "Le corps de la requête n'est pas arrivé à temps",
        "The body did not arrive in time",
    ),
    "TIMEOUT": ("请求处理超时", "La requête a pris trop de temps", "The request took too long"),
    "MODEL_ALREADY_EXISTS": (
        "模型已存在",
        "Un modèle de cet identifiant existe déjà",
        "A model with this id already exists",
    ),
    "MODEL_BEING_DELETED": (
        "同名模型正在删除，请稍后再部署",
        "Le modèle de ce nom est en cours de suppression ; déployez-le dans un instant",
        "The model of this name is being deleted; deploy it again in a moment",
    ),
    "REQUEST_RUNNING": (
        "使用同一 Idempotency-Key 的请求仍在处理中",
        "Une requête avec cette Idempotency-Key est encore en cours",
        "A request with this Idempotency-Key is still running",
    ),
    "PAYLOAD_TOO_LARGE": ("请求体过大", "Le corps de la requête est trop grand", "The body is too large"),
    "UNSUPPORTED_MEDIA_TYPE": (
        "请以 application/json 发送请求体",
        "Envoyez le corps en application/json",
        "Send the body as application/json",
    ),
    "IDEMPOTENCY_KEY_REUSED": (
        "该 Idempotency-Key 已用于另一个请求",
        "Cette Idempotency-Key a déjà servi à une autre requête",
        "This Idempotency-Key was used for another request",
    ),
    "TOO_MANY_REQUESTS": (
        "密钥错误次数过多，请稍后再试",
        "Trop de clés erronées, réessayez plus tard",
        "Too many wrong keys; try again later",
    ),
    "DEPLOYMENT_FAILED": ("部署失败", "Le déploiement a échoué", "The deployment failed"),
    "MODEL_FAILED": (
        "模型处理该请求时出错",
        "Le modèle a échoué sur cette requête",
        "The model failed on this request",
    ),
    "INSUFFICIENT_RESOURCES": ("资源不足", "Ressources insuffisantes", "Not enough resources"),
    "OVERLOADED": (
        "服务暂不可用，请稍后再试",
        "Le service n'est pas disponible pour le moment, réessayez plus tard",
        "The service cannot answer now; try again later",
    ),
    "MODEL_NOT_READY": (
        "模型尚无就绪的副本",
        "Aucune réplique du modèle n'est prête",
        "No replica of the model is ready",
    ),
    "MODEL_STOPPED": (
        "模型已停止；请先扩容到 1 个或更多副本",
        "Le modèle est arrêté ; passez-le d'abord à une réplique ou plus",
        "The model is stopped; scale it to 1 replica or more first",
    ),
    "MODEL_GAVE_UP": (
        "模型多次启动失败，不会再自动重试；原因见其状态",
        "Le modèle n'a pas pu démarrer et n'est plus relancé ; son état dit pourquoi",
        "The model failed to start and is not tried again by itself; its status says why",
    ),
    "BACKEND_UNAVAILABLE": (
        "运行模型的后端暂时没有响应",
        "Le moteur qui exécute les modèles ne répond pas",
        "The backend that runs the models does not answer",
    ),
    "STORE_UNAVAILABLE": ("数据库暂时不可用", "La base de données n'est pas disponible", "The database is unavailable"),
}

DONE: Final[Mapping[str, Texts]] = {
    "deploying": (
        "模型 {model_id} 正在部署",
        "Le modèle {model_id} est en cours de déploiement",
        "Model {model_id} is being deployed",
    ),
    "deployed": ("模型 {model_id} 已部署", "Le modèle {model_id} est déployé", "Model {model_id} is deployed"),
    "updating": (
        "模型 {model_id} 正在更新",
        "Le modèle {model_id} est en cours de mise à jour",
        "Model {model_id} is being updated",
    ),
    "updated": ("模型 {model_id} 已更新", "Le modèle {model_id} est à jour", "Model {model_id} is updated"),
    "scaling": (
        "模型 {model_id} 正在调整到 {replicas} 个副本",
        "Le modèle {model_id} passe à {replicas} répliques",
        "Model {model_id} is being scaled to {replicas} replicas",
    ),
    "scaled": (
        "模型 {model_id} 已调整到 {replicas} 个副本",
        "Le modèle {model_id} a {replicas} répliques",
        "Model {model_id} has {replicas} replicas",
    ),
    "deleting": (
        "模型 {model_id} 正在删除",
        "Le modèle {model_id} est en cours de suppression",
        "Model {model_id} is being deleted",
    ),
    "deleted": ("模型 {model_id} 已删除", "Le modèle {model_id} est supprimé", "Model {model_id} is deleted"),
}

STATES: Final[Mapping[str, Texts]] = {
    "ready": (
        "{ready}/{wanted} 个副本就绪",
        "{ready} réplique(s) prête(s) sur {wanted}",
        "{ready} of {wanted} replicas ready",
    ),
    "starting": (
        "正在启动：{ready}/{wanted} 个副本就绪",
        "Démarrage : {ready} réplique(s) prête(s) sur {wanted}",
        "Starting: {ready} of {wanted} replicas ready",
    ),
    "retrying": (
        "{ready}/{wanted} 个副本就绪；正在重试：{reason}",
        "{ready} réplique(s) prête(s) sur {wanted} ; nouvel essai : {reason}",
        "{ready} of {wanted} replicas ready; retrying: {reason}",
    ),
    "rolling": (
        "正在滚动更新到 {version}",
        "Mise à jour progressive vers {version}",
        "Rolling out {version}",
    ),
    "rolled_back": (
        "更新到 {abandoned} 失败（{reason}），继续由 {version} 提供服务",
        "La mise à jour vers {abandoned} a échoué ({reason}) ; {version} continue de servir",
        "The update to {abandoned} failed ({reason}); {version} keeps serving",
    ),
    "gave_up": (
        "多次启动失败，已放弃：{reason}",
        "Abandonné après plusieurs essais : {reason}",
        "Failed after several attempts: {reason}",
    ),
    "stopped": ("已停止", "Arrêté", "Stopped"),
    "dormant": (
        "空闲中，下一个请求将启动它",
        "En veille : la prochaine requête le démarre",
        "Asleep: the next request starts it",
    ),
    "removed": ("正在删除", "Suppression en cours", "Being deleted"),
}

PROBLEMS: Final[Mapping[str, Texts]] = {
    "missing": ("缺少该字段", "champ manquant", "is missing"),
    "unknown": ("未知字段", "champ inconnu", "is not a known field"),
    "type": ("类型应为 {expected}", "doit être de type {expected}", "must be {expected}"),
    "choice": ("必须是以下之一：{expected}", "doit être l'un de : {expected}", "must be one of: {expected}"),
    "pattern": (
        "必须匹配 {expected}",
        "doit correspondre à {expected}",
        "must match {expected}",
    ),
    "range": ("必须在 {expected} 之间", "doit être dans {expected}", "must be within {expected}"),
    "length": (
        "长度必须在 {expected} 之间",
        "la longueur doit être dans {expected}",
        "length must be within {expected}",
    ),
    "quantity": (
        "不是有效的资源数量（例如 {expected}）",
        "n'est pas une quantité (par exemple {expected})",
        "is not a quantity (such as {expected})",
    ),
    "memory": (
        "内存少于 1 MiB，任何程序都无法运行；是否想写 {expected}？",
        "est moins de 1 Mio, ce qui ne suffit à aucun programme ; vouliez-vous dire {expected} ?",
        "is less than 1 MiB, which no program can run in; did you mean {expected}?",
    ),
    "control": (
        "不能包含控制字符",
        "ne doit pas contenir de caractères de contrôle",
        "must have no control characters",
    ),
    "scaling": (
        "必须满足 0 <= min_replicas <= max_replicas <= 64",
        "doit satisfaire 0 <= min_replicas <= max_replicas <= 64",
        "must satisfy 0 <= min_replicas <= max_replicas <= 64",
    ),
    "beyond": (
        "必须为 0，或在 min_replicas 与 max_replicas 之间（{expected}）",
        "doit être 0, ou entre min_replicas et max_replicas ({expected})",
        "must be 0, or between min_replicas and max_replicas ({expected})",
    ),
    "variable": (
        "不允许设置该环境变量：它属于服务器或某个程序库。可用 APP_…、MODEL_… 等名称；"
        "管理员可在 ATELIER_ALLOWED_ENVIRONMENT 中允许其他名称",
        "n'est pas permis : le serveur ou une bibliothèque lit cette variable. Des noms comme APP_… ou MODEL_… sont "
        "libres ; l'administrateur en permet d'autres dans ATELIER_ALLOWED_ENVIRONMENT",
        "is not allowed: the server or a library reads this environment variable. Names such as APP_... or MODEL_... "
        "are free; the operator allows others in ATELIER_ALLOWED_ENVIRONMENT",
    ),
    "image": (
        "必须以确切的版本命名镜像，例如 {expected}",
        "doit nommer une image avec sa version exacte, par exemple {expected}",
        "must name an image with its exact version, such as {expected}",
    ),
    "image_elsewhere": (
        "不允许使用此镜像；允许的名称：{expected}",
        "n'est pas une image permise ; sont permises : {expected}",
        "is not an allowed image; allowed are: {expected}",
    ),
    "image_absent": (
        "容器引擎中没有此镜像，且不从镜像仓库拉取",
        "n'est pas dans le moteur de conteneurs, et rien n'est téléchargé d'un registre",
        "is not in the container engine, and images are not pulled from a registry",
    ),
    "image_foreign": (
        "不是 BentoML 构建的镜像",
        "n'a pas été construite par BentoML",
        "was not built by BentoML",
    ),
    "image_root": (
        "镜像以 root 身份运行，不允许使用",
        "s'exécute en root, ce qui n'est pas permis",
        "runs as root, which is not allowed",
    ),
    "bento_kind": (
        "是 {found} 类型的 Bento，而该模型运行的是 {wanted} 类型；请用新的 model_id 部署",
        "est un Bento de type {found}, alors que le modèle en exécute un de type {wanted} ; déployez-le sous un autre "
        "model_id",
        "is a Bento of type {found}, but the model runs one of type {wanted}; deploy it under another model_id",
    ),
    "bento": (
        "Bento 库中没有 {wanted}；现有：{found}。构建方法：{command}",
        "{wanted} n'est pas dans le dépôt de Bentos ; présents : {found}. Pour le construire : {command}",
        "{wanted} is not in the Bento store; it has: {found}. To build it: {command}",
    ),
    "json": ("JSON 无效：{expected}", "JSON non valide : {expected}", "invalid JSON: {expected}"),
    "header": ("请求头无效", "en-tête non valide", "is not a valid header value"),
}


def language_of(accept: str | None, default: Language = DEFAULT) -> Language:
    """The language that an Accept-Language header likes best (RFC 9110, 12.5.4) among those that we have.

    ``default`` is for a header that is missing, names no language or takes any; whoever asks only for languages that
    we do not have gets English.
    """
    best, choice = 0.0, default
    refused: set[Language | None] = set()
    for entry in (accept or "").split(",")[:MOST_CHOICES]:
        tag, _, weight = entry.strip().lower().partition(";")
        quality = _quality(weight)
        found = _ours(tag.strip(), default)
        if _REFUSED.match(weight):
            refused.add(_LANGUAGES.get(tag.strip().partition("-")[0]))
        elif found is not None and quality > best:
            best, choice = quality, found
        elif not best and quality and _TAG.match(tag.strip()):
            choice = FOREIGN
    return choice if choice not in refused else _other(refused, default)


def text(texts: Mapping[str, Texts], key: str, language: Language, **values: object) -> str:
    """The text under ``key``, its placeholders filled."""
    said = texts[key][("zh", "fr", "en").index(language)]
    return said.format(**values) if values else said


def problem(field: str, kind: str, language: Language, **values: object) -> dict[str, str]:
    """An entry of an error's ``details["problems"]``: which field, what is wrong with it, in a code and in words."""
    return {"field": field, "problem": kind, "message": text(PROBLEMS, kind, language, **values)}


def _other(refused: Collection[Language | None], default: Language) -> Language:
    """A language that the caller does not refuse; where all of ours are refused, an answer in one of them is best."""
    return next((one for one in (FOREIGN, default, *_LANGUAGES.values()) if one not in refused), default)


def _ours(tag: str, default: Language) -> Language | None:
    primary = tag.partition("-")[0]
    return default if tag == "*" else _LANGUAGES.get(primary)


def _quality(weight: str) -> float:
    name, _, value = weight.strip().partition("=")
    if not weight:
        return 1.0
    try:
        quality = float(value) if name.strip() == "q" else 0.0
    except ValueError:
        return 0.0
    return min(1.0, quality) if quality > 0 else 0.0  # which NaN is not
