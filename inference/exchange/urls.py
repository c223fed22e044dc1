from django.urls import path

from inference.exchange import views

urlpatterns = [
    path("models/<int:pk>/edge/", views.edge_export, name="edge_export"),
    path("models/edge/<int:pk>/", views.edge_file, name="edge_file"),
    path("models/keras/", views.keras_upload, name="keras_upload"),
    path("models/keras/<int:pk>/", views.keras_import, name="keras_import"),
]
