#!/usr/bin/env bash
# Says what would keep the stack from starting on this machine: a line for each fault, with the way out.
set -euo pipefail
cd "$(dirname "$0")/../.."

OLDEST_COMPOSE=2.24
LEAST_MEMORY_MIB=3900 # what a machine of 4 GiB has
faults=0

fault() {
    echo "imagemill: $*" >&2
    faults=$((faults + 1))
}
stop() {
    fault "$@"
    exit 2
}

engine() {
    command -v docker >/dev/null || stop "there is no docker on this machine; install Docker Engine and its Compose plugin"
    local said
    said=$(docker info --format '{{.MemTotal}}' 2>&1) && memory=$said && return
    case $said in
    *"permission denied"*)
        stop "$(id -un) may not use Docker's socket; add yourself to its group with" \
            "\`sudo usermod -aG docker $(id -un)\`, then log in anew"
        ;;
    *) stop "the Docker engine does not answer: ${said##*$'\n'}; start it with \`sudo systemctl start docker\`," \
        "or point DOCKER_HOST at one that runs" ;;
    esac
}

compose() {
    local version
    version=$(docker compose version --short 2>/dev/null) ||
        stop "docker has no \`compose\` (v2); install the package docker-compose-plugin, or Docker Desktop"
    version=${version#v}
    [[ $(printf '%s\n' "$OLDEST_COMPOSE" "$version" | sort --version-sort | head -n 1) == "$OLDEST_COMPOSE" ]] ||
        stop "Docker Compose $version is too old; the stack needs $OLDEST_COMPOSE or newer: update docker-compose-plugin"
    settings=$(docker compose config) || stop "docker-compose.yaml and .env do not fit together; see above"
    project=$(awk '/^name:/ {print $2}' <<<"$settings")
}

memory() {
    local mib=$((memory / 1024 / 1024))
    ((mib >= LEAST_MEMORY_MIB)) ||
        fault "the Docker engine has $mib MiB of memory, and the stack needs 4 GiB; give the machine more" \
            "(Docker Desktop: Settings, Resources)"
}

ports() {
    local port holder published
    published=$(awk '/published:/ {gsub(/"/, ""); print $2}' <<<"$settings" | sort)
    for port in $(uniq --repeated <<<"$published"); do
        fault "port $port is wanted twice; give IMAGEMILL_UI_PORT (Airflow) and IMAGEMILL_MAIL_PORT (mail) different" \
            "ports in .env"
    done
    for port in $(uniq <<<"$published"); do
        [[ -z $(docker ps --quiet --filter "publish=$port" --filter "label=com.docker.compose.project=$project") ]] || continue
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || continue
        holder=$(docker ps --filter "publish=$port" --format '{{.Names}}')
        fault "port $port is in use${holder:+ by the container $holder}; stop what listens there, or set" \
            "IMAGEMILL_UI_PORT (Airflow) or IMAGEMILL_MAIL_PORT (mail) to a free port in .env"
    done
}

database() {
    local volume=${project}_database said made runs
    docker volume inspect "$volume" >/dev/null 2>&1 || return 0
    # shellcheck disable=SC2016  # the container's own variable
    said=$(docker compose run --rm --no-deps -T --entrypoint sh postgres \
        -c 'cat "$PGDATA/PG_VERSION" 2>/dev/null || echo none; postgres --version' 2>/dev/null) || return 0
    made=$(head -n 1 <<<"$said")
    runs=$(sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p' <<<"$said")
    [[ $made == none || $made == "$runs" ]] ||
        fault "the volume $volume holds a database of PostgreSQL $made, and this stack runs $runs; back it up with the" \
            "release that made it, remove it with \`docker volume rm $volume\`, and restore the backup (docs/deploy.md)"
}

readable() {
    local folder hidden
    while read -r folder; do
        [[ -d $folder ]] || { fault "there is no folder $folder to mount; correct IMAGEMILL_DAGS," \
            "IMAGEMILL_PLUGINS or IMAGEMILL_IMAGES in .env" && continue; }
        hidden=$(find "$folder" ! -perm -o+r -print -quit)
        [[ -z $hidden ]] ||
            fault "the containers' user cannot read $hidden; allow it with \`chmod -R o+rX $folder\`"
    done < <(awk '/- type: bind$/ {getline; sub(/^ *source: /, ""); print}' <<<"$settings" | sort -u)
}

engine
compose
memory
ports
database
readable
((faults == 0)) || exit 2
