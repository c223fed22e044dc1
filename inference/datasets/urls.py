from django.urls import path

from inference.datasets import upload_views, views

urlpatterns = [
    path("datasets/", views.datasets, name="datasets"),
    path("datasets/new/", upload_views.dataset_new, name="dataset_new"),
    path("datasets/<int:pk>/", views.dataset_change, name="dataset_change"),
    path("datasets/<int:pk>/retire/", views.dataset_retire, name="dataset_retire"),
    path("datasets/uploads/", upload_views.dataset_upload, name="dataset_upload"),
    path("datasets/uploads/<int:pk>/", upload_views.dataset_piece, name="dataset_piece"),
    path("datasets/uploads/<int:pk>/finish/", upload_views.dataset_finish, name="dataset_finish"),
    path(
        "datasets/uploads/<int:pk>/discard/", upload_views.dataset_discard, name="dataset_discard"
    ),
    path("datasets/versions/<int:pk>/", views.dataset_version, name="dataset_version"),
    path("datasets/versions/<int:pk>/edit/", views.dataset_edit, name="dataset_edit"),
    path("datasets/versions/<int:pk>/report/", views.dataset_report, name="dataset_report"),
    path("datasets/versions/<int:pk>/manifest/", views.dataset_manifest, name="dataset_manifest"),
    path("datasets/versions/<int:pk>/left-out/", views.dataset_left_out, name="dataset_left_out"),
    path("datasets/pictures/<int:pk>/", views.dataset_picture, name="dataset_picture"),
]
