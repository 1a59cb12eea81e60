#!/usr/bin/env bash
# backup.sh FILE: writes what the stack cannot make again into one tar file: Airflow's database, the secrets, the
# emulated bucket, and imagemill's home without its work folder. The stack keeps running. The file holds secrets.
set -euo pipefail
file=$(realpath -m "${1:?usage: backup.sh FILE.tar}")
cd "$(dirname "$0")/../.."

[[ ! -e $file ]] || {
    echo "imagemill: $file is there already; name another file" >&2
    exit 2
}
[[ -n $(docker compose ps --quiet postgres) ]] || {
    echo "imagemill: the stack is not up, so its database cannot be read; start it with \`make stack\`" >&2
    exit 2
}
umask 077
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

archive() { # archive NAME SERVICE FOLDER [TAR OPTION]...: the content of a folder, as a service of the stack sees it
    local code=0
    docker compose run --rm --no-deps -T --entrypoint tar "$2" \
        --create --xattrs --directory "$3" "${@:4}" . >"$folder/$1.tar" || code=$?
    # 1: a file changed while it was read. The stack keeps running, and its next refresh makes such a file anew.
    ((code <= 1)) || exit "$code"
    # An archive ends with two empty blocks; docker's own failures have the code 1, too.
    [[ -s $folder/$1.tar && -z $(tail --bytes 1024 "$folder/$1.tar" | tr --delete '\0') ]] || {
        echo "imagemill: the archive of $2's $3 is not whole; run it again" >&2
        exit 1
    }
}
docker compose exec -T postgres pg_dump --username=airflow --format=custom airflow >"$folder/database.dump"
archive secrets secrets /run/imagemill
archive gcs gcs /var/lib/gcs --exclude='./imagemill-gcs-*'
archive home scheduler /var/lib/imagemill --exclude=./work
tar --create --file "$file.part" --directory "$folder" database.dump secrets.tar gcs.tar home.tar
mv "$file.part" "$file"
echo "backed up to $file, $(du -h "$file" | cut -f 1); keep it like a password"
