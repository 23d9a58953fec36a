# Outlives the test process, whose end closes standard input; then stops every server it started and removes its folder.
# $1: the folder, which this script makes (so that there is none without a supervisor); $2: its mode.
trap '' HUP INT QUIT TERM PIPE TSTP
cd / && mkdir -m "$2" "$1" && echo ready || exit 1
exec >/dev/null 2>&1
while read -r _; do :; done

# From here on the launcher starts nothing more: it writes its pid, then looks for this file.
: >"$1/closing"

# A zombie is gone, too: there may be nobody to reap it.
alive() { kill -0 "$1" && ! grep -q '^State:.*Z' "/proc/$1/status"; }
each() { for file in "$1"/*/pid; do [ -f "$file" ] && read -r pid <"$file" && "$2" "$pid"; done; }
quit() { kill -s QUIT -- "-$1"; }
murder() { alive "$1" && kill -s KILL -- "-$1"; }
note() { alive "$1" && left=yes; }
wait_gone() { # $2: tenths of a second
    tenths=$2
    while [ "$tenths" -gt 0 ]; do
        left=no
        each "$1" note
        [ "$left" = no ] && return
        sleep 0.1
        tenths=$((tenths - 1))
    done
}
each "$1" quit
wait_gone "$1" 80 # the postmaster itself gives its children 5 s
each "$1" murder
wait_gone "$1" 20
for attempt in 1 2 3 4 5; do
    rm -rf -- "$1" && break
    sleep 0.5 # a backend whose postmaster was killed may still have been writing
done
