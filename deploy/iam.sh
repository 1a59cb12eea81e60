#!/usr/bin/env bash
# iam.sh: the service accounts of imagemill on Google Cloud and the least that each may do; docs/iam.md explains them.
# Prints the gcloud commands; with --apply it runs them. Running it again changes nothing.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: deploy/iam.sh --project PROJECT --data BUCKET [options]
  --data BUCKET       staging and datasets
  --temp BUCKET       temporary files of Dataflow jobs; without it, nothing is set up for Dataflow
  --composer BUCKET   the Composer environment's own bucket, for whoever deploys to it
  --deployer MEMBER   who deploys, such as user:ann@example.org; needs --composer
  --registry NAME     Artifact Registry repository of the worker image, as LOCATION/NAME
  --apply             run the commands
TEXT
}

fail() {
    echo "iam.sh: $1" >&2
    exit 2
}

project='' data='' temp='' composer='' deployer='' registry='' apply=''
while (($#)); do
    case $1 in
    --project | --data | --temp | --composer | --deployer | --registry)
        (($# > 1)) || fail "$1 wants a value"
        printf -v "${1#--}" '%s' "${2#gs://}"
        shift 2
        ;;
    --apply) apply=yes && shift ;;
    -h | --help) usage && exit ;;
    *) usage >&2 && fail "there is no option $1" ;;
    esac
done
[[ -n $project && -n $data ]] || { usage >&2 && fail "--project and --data are needed"; }
[[ -z $deployer || -n $composer ]] || fail "--deployer needs --composer, the bucket to deploy to"
[[ -z $deployer || $deployer == *:* ]] || fail "--deployer is '$deployer'; write user:, group: or serviceAccount: before it"
[[ -z $registry || $registry == */* ]] || fail "--registry is '$registry'; write it as LOCATION/NAME"

# An account that was just made may be unknown for a minute to policies that name it, as Google says:
# https://cloud.google.com/iam/docs/service-accounts-create
run() { # run COMMAND...: prints it, or runs it
    local said wait
    if [[ -z $apply ]]; then
        printf '%q ' "$@" && echo
        return
    fi
    for wait in 1 2 4 8 16 32 ''; do
        if said=$("$@" 2>&1 >/dev/null); then
            [[ -z $said ]] || echo "$said" >&2
            return
        fi
        [[ -n $wait && $said == *"ervice account "*" does not exist"* ]] || break
        echo "iam.sh: a new account is not known everywhere yet; again in $wait s" >&2
        sleep "$wait"
    done
    echo "$said" >&2
    fail "this failed, and what comes after it was not tried; mend it and run the script again: $(printf '%q ' "$@")"
}
there() { [[ -n $apply ]] && "$@" >/dev/null 2>&1; }

account() { # account NAME TEXT: makes a service account that is not there yet
    there gcloud iam service-accounts describe "$1@$project.iam.gserviceaccount.com" --project="$project" ||
        run gcloud iam service-accounts create "$1" --project="$project" --display-name="$2"
}
role() { # role ID TEXT PERMISSIONS: makes a role of the project that is not there yet
    there gcloud iam roles describe "$1" --project="$project" ||
        run gcloud iam roles create "$1" --project="$project" --title="$2" --permissions="$3" --stage=GA
}
member() { echo "serviceAccount:$1@$project.iam.gserviceaccount.com"; }

on_bucket() { run gcloud storage buckets add-iam-policy-binding "gs://$1" --member="$2" --role="$3"; }
on_project() { run gcloud projects add-iam-policy-binding "$project" --member="$1" --role="$2" --condition=None; }
on_account() {
    run gcloud iam service-accounts add-iam-policy-binding "$1@$project.iam.gserviceaccount.com" \
        --project="$project" --member="$2" --role="$3"
}

account imagemill-tasks "imagemill: Airflow's tasks"
account imagemill-training "imagemill: training jobs"
on_bucket "$data" "$(member imagemill-tasks)" roles/storage.objectUser
on_bucket "$data" "$(member imagemill-training)" roles/storage.objectViewer

if [[ -n $temp ]]; then
    account imagemill-workers "imagemill: Dataflow's workers"
    on_bucket "$data" "$(member imagemill-workers)" roles/storage.objectUser
    on_bucket "$temp" "$(member imagemill-workers)" roles/storage.objectUser
    on_project "$(member imagemill-workers)" roles/dataflow.worker
    on_bucket "$temp" "$(member imagemill-tasks)" roles/storage.objectUser
    on_project "$(member imagemill-tasks)" roles/dataflow.developer
    on_account imagemill-workers "$(member imagemill-tasks)" roles/iam.serviceAccountUser
    if [[ -n $registry ]]; then
        run gcloud artifacts repositories add-iam-policy-binding "${registry#*/}" --location="${registry%%/*}" \
            --project="$project" --member="$(member imagemill-workers)" --role=roles/artifactregistry.reader
    fi
fi

if [[ -n $composer ]]; then
    on_project "$(member imagemill-tasks)" roles/composer.worker
fi
if [[ -n $deployer ]]; then
    on_bucket "$composer" "$deployer" roles/storage.objectUser
    # roles/composer.user does not allow listing packages, which runs a command on a worker.
    role imagemillDeployer "imagemill: whoever deploys" \
        composer.environments.get,composer.environments.executeAirflowCommand
    on_project "$deployer" "projects/$project/roles/imagemillDeployer"
fi
