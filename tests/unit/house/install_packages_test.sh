#!/bin/bash
# deploy/install-packages knows what is missing: not what another package provides, and what was removed.
set -euo pipefail
root=$(cd "$(dirname "$0")/../../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/deploy" "$work/bin"
cp "$root/deploy/install-packages" "$work/deploy/"
printf '[some]\nnodejs\nnpm\nrunc\nnginx-light\n' > "$work/deploy/packages.txt"
# A machine that has nodejs of an archive that brings npm, runc, and of nginx-light what is left of its configuration.
cat > "$work/bin/dpkg-query" << 'END'
#!/bin/bash
case $* in
  *Provides*) printf 'installed|nodejs-dev (= 20), npm (= 10), nodejs-legacy\ninstalled|\nconfig-files|nginx-light\n' ;;
  *" nodejs" | *" runc") printf installed ;;
  *" nginx-light") printf config-files ;;
  *) exit 1 ;;
esac
END
printf '#!/bin/sh\nexit 1\n' > "$work/bin/apt-get"
chmod +x "$work/bin/"*
told=$(PATH=$work/bin:$PATH "$work/deploy/install-packages" --check some) && { echo "nothing is missing: $told"; exit 1; }
[ "$told" = "packages (some): 1 of 4 missing: nginx-light" ] || { echo "wrong: $told"; exit 1; }
printf '[some]\nnodejs\nnpm\n' > "$work/deploy/packages.txt"
told=$(PATH=$work/bin:$PATH "$work/deploy/install-packages" some)
[ "$told" = "packages (some): all 2 installed" ] || { echo "wrong: $told"; exit 1; }
