"""``manage.py import_dataset``: make a dataset's version of a folder or archive on the server."""

import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError

from inference.datasets.services import dataset_version_from_path
from inference.jobs.selectors import why_waiting
from inference.models import DatasetVersion, Job

LOOK_EVERY = 1.0  # seconds


class Command(BaseCommand):
    help = (
        "Imports a folder or a ZIP archive of labelled pictures as the next version of a dataset, "
        "which is made if there is none of that name. The training worker does the work and has to "
        "see the path; this command waits and tells how far it is. Ctrl-C ends the waiting only."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, metavar="FOLDER_OR_ZIP")
        parser.add_argument("--name", required=True, help="of the dataset")
        parser.add_argument(
            "--table",
            type=Path,
            metavar="CSV",
            help="columns file and label, group (source photograph or patient) or part",
        )
        parser.add_argument("--licence", default="", help="of a new dataset")
        parser.add_argument("--description", default="", help="of a new dataset")
        parser.add_argument("--no-wait", action="store_true", help="only queue the work")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            version = dataset_version_from_path(
                path=options["path"],
                table=options["table"],
                name=options["name"],
                licence=options["licence"],
                description=options["description"],
            )
        except ValidationError as error:
            raise CommandError(" ".join(error.messages)) from error
        self.stdout.write(f"{version} is queued.")
        if not options["no_wait"]:
            self._wait(version)

    def _wait(self, version: DatasetVersion) -> None:
        told = ""
        while True:
            job = Job.objects.get(dataset_version=version)
            if job.is_over:
                break
            if (line := _progress(job)) != told:
                told = line
                self.stdout.write(line, ending="\r" if sys.stdout.isatty() else "\n")
                self.stdout.flush()
            time.sleep(LOOK_EVERY)
        if job.status != Job.Status.DONE:
            raise CommandError(job.error or f"{version} was cancelled.")
        version.refresh_from_db()
        classes = ", ".join(f"{label} {n}" for label, n in version.summary["classes"].items())
        self.stdout.write(
            f"{version} is ready: {version.summary['pictures']} pictures ({classes}), "
            f"{version.summary['left_out']} files left out."
        )
        for sentence in version.summary["sentences"]:
            if sentence["kind"] != "good":
                self.stdout.write(self.style.WARNING(sentence["text"]))


def _progress(job: Job) -> str:
    if job.status == Job.Status.QUEUED:
        return why_waiting(job)
    done = f" {job.steps_done} of {job.steps_total}" if job.steps_total else ""
    return f"{job.stage or 'Starting'}{done}"
