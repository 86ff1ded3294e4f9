#!/bin/sh
# Adds rooms to the hotels hotel-0 to hotel-99, and seats to the flights flight-0 to flight-99:
#   populate.sh APP [ROOMS [SEATS]]
set -e
app=${1:?which app}
names() { seq -f "\"$1-%g\"" -s , 0 99; }
weft call "$app/hotel.add" "[$(names hotel)]" "${2:-1000}"
weft call "$app/flight.add" "[$(names flight)]" "${3:-1000}"
