#!/bin/sh
export PGPASSFILE=/root/.pgpass
pg_dump -h localhost -U backup app | gzip > /var/backups/app.sql.gz
rsync -a /var/backups/app.sql.gz store1:/backups/db1/
