"""Django's settings for Morango as a peer: one SQLite file, WAL, synchronous=FULL."""

import os

from django.db.backends.signals import connection_created

SECRET_KEY = os.urandom(32).hex()
DEBUG = False  # with it Django keeps every query in memory
ALLOWED_HOSTS = ["*"]
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "morango", "taps"]
MIDDLEWARE = []
ROOT_URLCONF = "morango.urls"
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["PEER_DATABASE"],
        "OPTIONS": {"timeout": 60},
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = True
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}


def make_durable(connection, **_):
    """Give each connection what both peers are measured with."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")


connection_created.connect(make_durable)
