#!/bin/sh
# Registers the users user-0 to user-99, each of whom follows the 5 before: populate.sh APP
set -e
app=${1:?which app}
weft call "$app/user.register" "[$(seq -f '"user-%g"' -s , 0 99)]"
for i in $(seq 0 99); do
	others=
	for d in 1 2 3 4 5; do others="$others,\"user-$(((i + 100 - d) % 100))\""; done
	weft call "$app/social-graph.follow" "user-$i" "[${others#,}]"
done
