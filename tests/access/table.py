"""Who may call what: one row for every URL, and which rows of data each role sees.

``python -m tests.access.table`` prints the table of docs/permissions.md.
"""

from dataclasses import dataclass

from accounts.permissions import Role

T, D, A = Role.TECHNICIAN, Role.DOCTOR, Role.ADMIN
EVERY_ROLE = frozenset(Role)


@dataclass(frozen=True)
class Row:
    """``roles``: who may; None: everybody, logged in or not.

    ``object``: the kind of row in the address, which has to be one that the person may see.
    """

    url: str
    what: str
    roles: frozenset[Role] | None
    method: str = "get"
    object: str = ""


ROWS = [
    Row("front", "What HematoVision is", None),
    Row("healthz", "For load balancers", None),
    Row("accounts:login", "Log in", None),
    Row("accounts:logout", "Log out", None, method="post"),
    Row("home", "Start page by role", EVERY_ROLE),
    Row("accounts:password", "Change one's password", EVERY_ROLE),
    Row("analyses:upload", "Upload images", frozenset({T, D})),
    Row("analyses:example", "Try an example", frozenset({T, D}), method="post"),
    Row("analyses:samples", "List and search samples", EVERY_ROLE),
    Row("analyses:sample", "See a sample and its cells", EVERY_ROLE, object="sample"),
    Row("analyses:results", "Its results while they arrive", EVERY_ROLE, object="sample"),
    Row("analyses:consent", "Consent to training", frozenset({T, D}), "post", "sample"),
    Row("analyses:reanalyse", "Have it analysed again", frozenset({D, A}), "post", "sample"),
    Row("analyses:retry", "Retry a failed analysis", EVERY_ROLE, "post", "analysis"),
    Row("analyses:thumbnail", "An image, small", EVERY_ROLE, object="image"),
    Row("analyses:view", "An image, for the page", EVERY_ROLE, object="image"),
    Row("analyses:original", "An image, as it came", EVERY_ROLE, object="image"),
    Row("analyses:review", "Say what a cell is", frozenset({T, D}), "post", "cell"),
    Row("analyses:corrections", "Make datasets of people's answers", frozenset({A})),
    Row("analyses:watch", "How the models in use fare", frozenset({D, A})),
    Row("analyses:acknowledge", "Answer an alert", frozenset({D, A}), "post", "alert"),
    Row("analyses:crop", "A cell, cut out", EVERY_ROLE, object="cell"),
    Row("analyses:heat_map", "Where the model looked", EVERY_ROLE, object="cell"),
    Row("inference:models", "Models, and what serves where", frozenset({A})),
    Row("inference:model", "A model: figures, lineage, history", frozenset({A}), object="model"),
    Row("inference:model_beside", "Two models side by side", frozenset({A}), object="model"),
    Row("inference:model_report", "A model's whole evaluation", frozenset({A}), object="model"),
    Row("inference:model_export", "Download a model's bundle", frozenset({A}), object="model"),
    Row("inference:model_file", "Download a file of it", frozenset({A}), object="model"),
    Row("inference:model_import", "Import a bundle", frozenset({A})),
    Row("inference:edge_export", "Make classifiers for devices", frozenset({A}), "post", "model"),
    Row("inference:edge_file", "Download one of them", frozenset({A}), object="edge export"),
    Row("inference:keras_upload", "Import a Keras model", frozenset({A})),
    Row("inference:keras_import", "Its options", frozenset({A}), object="keras import"),
    Row("inference:model_compare", "Start a comparison", frozenset({A}), "post", "model"),
    Row("inference:model_promote", "Put a model in use", frozenset({A}), object="model"),
    Row("inference:model_go_back", "Go back to the model before", frozenset({A}), "post"),
    Row("inference:model_return", "Return a site to the default", frozenset({A}), "post"),
    Row(
        "inference:job",
        "How far a training or the like is",
        frozenset({D, A}),
        object="job",
    ),
    Row("inference:job_log", "Its log", frozenset({D, A}), object="job"),
    Row("inference:job_stop", "End it", frozenset({D, A}), "post", "job"),
    Row("inference:job_retry", "Try it again", frozenset({D, A}), "post", "job"),
    Row("inference:trainings", "Trainings", frozenset({A})),
    Row("inference:training_new", "Train a model", frozenset({A})),
    Row("inference:training", "A training, while it runs and after", frozenset({A}), object="run"),
    Row("inference:training_curves", "Its curves", frozenset({A}), object="run"),
    Row("inference:datasets", "Datasets and their versions", frozenset({A})),
    Row("inference:dataset_new", "Upload a dataset", frozenset({A})),
    Row("inference:dataset_upload", "Announce an archive", frozenset({A}), "post"),
    Row("inference:dataset_piece", "Send a piece of it", frozenset({A}), "post", "dataset_upload"),
    Row("inference:dataset_finish", "Have it imported", frozenset({A}), "post", "dataset_upload"),
    Row("inference:dataset_discard", "Throw it away", frozenset({A}), "post", "dataset_upload"),
    Row("inference:dataset_change", "Change a dataset's facts", frozenset({A}), object="dataset"),
    Row("inference:dataset_retire", "Retire it", frozenset({A}), "post", "dataset"),
    Row("inference:dataset_version", "Look at the data", frozenset({A}), object="dataset_version"),
    Row("inference:dataset_edit", "Change its classes", frozenset({A}), object="dataset_version"),
    Row("inference:dataset_report", "Its report", frozenset({A}), object="dataset_version"),
    Row("inference:dataset_manifest", "Its manifest", frozenset({A}), object="dataset_version"),
    Row(
        "inference:dataset_left_out",
        "What was left out of it",
        frozenset({A}),
        object="dataset_version",
    ),
    Row("inference:dataset_picture", "A picture of it", frozenset({A}), object="dataset_picture"),
    Row("inference:sites", "Which model serves where, validated or not", frozenset({D, A})),
    Row("inference:site", "A site's first day", frozenset({D, A}), object="own site"),
    Row(
        "inference:validation", "A model on a site's cells", frozenset({D, A}), object="validation"
    ),
    Row("inference:adapt", "Adapt it to them", frozenset({D, A}), "post", "validation"),
    Row("inference:accept", "Accept it for the site", frozenset({D, A}), "post", "validation"),
    Row("accounts:people", "People and sites", frozenset({A})),
    Row("accounts:person_new", "Add a person", frozenset({A})),
    Row("accounts:person_edit", "Change a person", frozenset({A}), object="person"),
    Row("accounts:person_password", "Give a new password", frozenset({A}), "post", "person"),
    Row("accounts:site_new", "Add a site", frozenset({A})),
    Row("accounts:site_edit", "Change a site", frozenset({A}), object="site"),
    Row("accounts:audit", "Read the audit trail", frozenset({A})),
]

SCOPES = {
    "sample": "those of one's sites; an admin: all",
    "image": "through its sample",
    "cell": "through its sample",
    "analysis": "through its sample",
    "job": "those of a kind that one may ask for, about one's sites",
    "model": "all",
    "edge export": "all",
    "keras import": "all",
    "dataset": "of every site, and of none",
    "dataset_version": "through its dataset",
    "dataset_picture": "through its dataset",
    "dataset_upload": "all",
    "alert": "those of one's sites; an admin: all",
    "own site": "one's own; an admin: all",
    "validation": "those of one's sites; an admin: all",
    "run": "all",
    "person": "all",
    "site": "all",
}


def as_markdown() -> str:
    lines = [
        "| URL | What | Everybody | Technician | Doctor | Admin | Which rows |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in ROWS:
        marks = ["yes" if row.roles is None else ""]
        marks += ["yes" if row.roles is None or role in row.roles else "" for role in (T, D, A)]
        cells = [f"`{row.url}`", row.what, *marks, SCOPES.get(row.object, "")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(as_markdown())
