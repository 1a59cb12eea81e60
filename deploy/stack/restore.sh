#!/usr/bin/env bash
# restore.sh FILE [--replace]: brings the stack up as it was when backup.sh wrote FILE. A database of an older Airflow
# is migrated on the way. --replace deletes what the stack holds now.
set -euo pipefail
file=$(realpath "${1:?usage: restore.sh FILE.tar [--replace]}")
cd "$(dirname "$0")/../.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
is_whole() {
    tar --extract --file "$file" --directory "$folder" database.dump secrets.tar gcs.tar home.tar || return
    local part
    for part in secrets gcs home; do tar --list --file "$folder/$part.tar" >/dev/null || return; done
    tar --list --file "$folder/secrets.tar" ./database-password >/dev/null
}
is_whole || {
    echo "imagemill: $file is not a whole backup; take another one" >&2
    exit 2
}
project=$(docker compose config | awk '/^name:/ {print $2}')
if [[ ${2:-} != --replace && -n $(docker volume ls --quiet --filter "label=com.docker.compose.project=$project") ]]; then
    echo "imagemill: the stack holds data already; back that up, then add --replace to delete it" >&2
    exit 2
fi
# Of this checkout, which may be another release than the images at hand; and before anything is deleted.
docker compose build --quiet
# By the program that will read it, to its end: one that was cut short lists well.
image=$(docker compose config --images | grep --max-count 1 ^postgres:)
docker run --rm --interactive --network none --user postgres --entrypoint pg_restore "$image" --file=/dev/null \
    <"$folder/database.dump" || {
    echo "imagemill: the database's dump in $file is damaged; take another backup" >&2
    exit 2
}
[[ ${2:-} != --replace ]] || docker compose down --volumes --remove-orphans

extract() { # extract NAME SERVICE FOLDER
    docker compose run --rm --no-deps -T --entrypoint tar "$2" \
        --extract --xattrs --xattrs-include='user.*' --preserve-permissions --no-overwrite-dir --directory "$3" <"$folder/$1.tar"
}
extract secrets secrets /run/imagemill
extract gcs gcs /var/lib/gcs
extract home scheduler /var/lib/imagemill
docker compose up --wait postgres
docker compose exec -T postgres pg_restore --username=airflow --dbname=airflow --exit-on-error --single-transaction \
    <"$folder/database.dump"
docker compose up --wait
