from django.urls import include, path

from hematovision import views

urlpatterns = [
    path("", views.front, name="front"),
    path("home/", views.home, name="home"),
    path("healthz", views.healthz, name="healthz"),
    path("accounts/", include("accounts.urls")),
    path("", include("analyses.urls")),
    path("", include("inference.urls")),
]

handler400 = "hematovision.views.bad_request"
handler403 = "hematovision.views.denied"
handler404 = "hematovision.views.not_found"
handler500 = "hematovision.views.server_error"
