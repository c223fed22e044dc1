from django.urls import path

from inference.sites import views

urlpatterns = [
    path("sites/", views.sites, name="sites"),
    path("sites/<int:pk>/", views.site, name="site"),
    path("validations/<int:pk>/", views.validation, name="validation"),
    path("validations/<int:pk>/adapt/", views.adapt, name="adapt"),
    path("validations/<int:pk>/accept/", views.accept, name="accept"),
]
