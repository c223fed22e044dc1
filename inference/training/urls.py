from django.urls import path

from inference.training import views

urlpatterns = [
    path("trainings/", views.trainings, name="trainings"),
    path("trainings/new/", views.training_new, name="training_new"),
    path("trainings/<int:pk>/", views.training, name="training"),
    path("trainings/<int:pk>/curves/", views.training_curves, name="training_curves"),
]
