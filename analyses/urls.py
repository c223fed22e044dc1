from django.urls import path

from analyses import correction_views, review_views, views, watch_views

app_name = "analyses"
urlpatterns = [
    path("upload/", views.upload, name="upload"),
    path("example/", views.example, name="example"),
    path("samples/", views.samples, name="samples"),
    path("samples/<int:pk>/", views.sample, name="sample"),
    path("samples/<int:pk>/results/", views.results, name="results"),
    path("samples/<int:pk>/reanalyse/", views.reanalyse, name="reanalyse"),
    path("samples/<int:pk>/consent/", review_views.consent, name="consent"),
    path("analyses/<int:pk>/retry/", views.retry, name="retry"),
    path("images/<int:pk>/thumbnail/", views.thumbnail, name="thumbnail"),
    path("images/<int:pk>/view/", views.view, name="view"),
    path("images/<int:pk>/original/", views.original, name="original"),
    path("corrections/", correction_views.corrections, name="corrections"),
    path("watch/", watch_views.watch, name="watch"),
    path("watch/alerts/<int:pk>/", watch_views.acknowledge, name="acknowledge"),
    path("cells/<int:pk>/review/", review_views.review, name="review"),
    path("cells/<int:pk>/crop/", views.crop, name="crop"),
    path("cells/<int:pk>/heat-map/", views.heat_map, name="heat_map"),
]
