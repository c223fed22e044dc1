from django.urls import path

from inference.registry import transfer_views, views

urlpatterns = [
    path("models/", views.models, name="models"),
    path("models/import/", transfer_views.model_import, name="model_import"),
    path("models/go-back/", views.go_back, name="model_go_back"),
    path("models/return/", views.return_to_default, name="model_return"),
    path("models/<int:pk>/", views.model, name="model"),
    path("models/<int:pk>/beside/", views.beside, name="model_beside"),
    path("models/<int:pk>/compare/", views.compare, name="model_compare"),
    path("models/<int:pk>/promote/", views.promote, name="model_promote"),
    path("models/<int:pk>/report/", transfer_views.report, name="model_report"),
    path("models/<int:pk>/export/", transfer_views.export, name="model_export"),
    path("models/<int:pk>/file/", transfer_views.file, name="model_file"),
]
