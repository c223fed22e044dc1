from django.urls import include, path

app_name = "inference"
urlpatterns = [
    path("", include("inference.jobs.urls")),
    path("", include("inference.registry.urls")),
    path("", include("inference.exchange.urls")),
    path("", include("inference.datasets.urls")),
    path("", include("inference.training.urls")),
    path("", include("inference.sites.urls")),
]
