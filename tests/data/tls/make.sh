#!/bin/sh
# Makes the files of this folder anew; needs the openssl program. See README.md.
set -eu
cd "$(dirname "$0")"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem -days 36500 \
    -subj "/CN=Test authority of the engine, trusted nowhere" -addext "keyUsage=critical,keyCertSign,cRLSign"
openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout venue.key -out venue.csr \
    -subj "/CN=venue.test"
printf 'subjectAltName=DNS:venue.test\nbasicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\n' > venue.ext
openssl x509 -req -in venue.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out venue.pem -days 36500 -extfile venue.ext
rm -f ca.key ca.srl venue.csr venue.ext
