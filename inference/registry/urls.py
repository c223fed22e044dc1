from django.urls import path

from inference.registry import views

urlpatterns = [path("models/", views.models, name="models")]
