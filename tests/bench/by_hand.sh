#!/bin/bash
# What one would write with the system's own tools: findmnt --poll, blkid, openssl, curl.
# Usage: by_hand.sh ENDPOINT ACCESS-KEY SECRET LABEL MANIFEST
set -euo pipefail
endpoint=$1 key=$2 secret=$3 label=$4 manifest=$5
encode() { python3 -c 'import sys,urllib.parse; print(urllib.parse.quote(sys.stdin.read(), safe="-_.~"), end="")'; }
text=$(encode <"$manifest")
echo ready
findmnt --poll=mount --first-only --noheadings --output SOURCE,TARGET | while read -r source target; do
    [ "$(blkid -p -o value -s LABEL "$source")" = "$label" ] || exit 1
    [ "$(blkid -p -o value -s TYPE "$source")" = ntfs ] || exit 1
    now=$(date -u +%Y-%m-%dT%H%%3A%M%%3A%SZ)
    query="AWSAccessKeyId=$key&Action=CreateJob&JobType=Export&Manifest=$text&SignatureMethod=HmacSHA256"
    query="$query&SignatureVersion=2&Timestamp=$now&ValidateOnly=false&Version=2010-06-01"
    host=${endpoint#http://}
    signature=$(printf 'POST\n%s\n/\n%s' "$host" "$query" |
        openssl dgst -sha256 -hmac "$secret" -binary | openssl base64 -A |
        sed 's/+/%2B/g; s,/,%2F,g; s/=/%3D/g')
    answer=$(curl -sS --fail --data-raw "$query&Signature=$signature" "$endpoint/")
    printf '%s\n' "$answer" | sed -n '/<SignatureFileContents>/,/<\/SignatureFileContents>/p' |
        sed 's/.*<SignatureFileContents>//; s/<\/SignatureFileContents>.*//' | sed '/^ *$/d' >"$target/SIGNATURE.part"
    sync "$target/SIGNATURE.part"
    mv "$target/SIGNATURE.part" "$target/SIGNATURE"
done
