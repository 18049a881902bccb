#!/bin/bash
set -e
. /srv/app/shared/env
for f in /srv/app/schema/*.sql; do
  psql -h db1 -p 5432 -U app -f "$f" app
done
date > /srv/app/shared/schema-version
