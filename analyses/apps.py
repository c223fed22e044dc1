from django.apps import AppConfig


class AnalysesConfig(AppConfig):
    name = "analyses"
    verbose_name = "Samples, their images, cells and results"

    def ready(self) -> None:
        from analyses import checks  # noqa: F401  registers itself
