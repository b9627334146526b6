# Debian packages that Orrery builds and tests with. Sourced by run.sh, test.sh and .ci/run.
orrery_packages=(
  g++ cmake ninja-build ccache
  libboost-graph-dev libboost-dev libceres-dev libcli11-dev libeigen3-dev libfmt-dev libsimgrid-dev
  nlohmann-json3-dev libgtest-dev libbenchmark-dev
)

install_missing_packages() {
  local missing=() package
  for package in "${orrery_packages[@]}" "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  local sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  echo "installing ${missing[*]}" >&2
  "${sudo[@]}" apt-get update -qq >&2
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
}
