from django.apps import AppConfig


class FilesConfig(AppConfig):
    name = "hematovision.files"
    label = "files"
    verbose_name = "The image gate and the content-addressed store"
