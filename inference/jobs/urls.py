from django.urls import path

from inference.jobs import views

urlpatterns = [
    path("jobs/<int:pk>/", views.job, name="job"),
    path("jobs/<int:pk>/log/", views.log, name="job_log"),
    path("jobs/<int:pk>/stop/", views.stop, name="job_stop"),
    path("jobs/<int:pk>/retry/", views.retry, name="job_retry"),
]
