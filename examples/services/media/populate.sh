#!/bin/sh
# Registers the users user-0 to user-99 and the movies movie-0 to movie-999: populate.sh APP
set -e
app=${1:?which app}
names() { seq -f "\"$1-%g\"" -s , 0 "$2"; }
weft call "$app/user.register" "[$(names user 99)]"
weft call "$app/movie-id.register" "[$(names movie 999)]"
