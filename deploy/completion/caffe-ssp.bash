# Completion for bash: source it, or install it as
# /usr/share/bash-completion/completions/caffe (and links psctl, ... to it).
# Commands and flags are asked of the program itself, so they are always those
# of the version that is called.

_caffe_ssp() {
  local program=$1 current=${COMP_WORDS[COMP_CWORD]} help commands word given=
  COMPREPLY=()
  for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ -z $given && $word == [a-z]* ]] && given=$word
  done
  # psctl's commands have flags of their own.
  [[ $(basename "$program") == psctl && -n $given ]] &&
    help=$("$program" "$given" --help 2>/dev/null)
  [[ -n $help ]] || help=$("$program" --help 2>/dev/null) || return 0
  if [[ $current == -* ]]; then
    local dashes=-
    [[ $current == --* ]] && dashes=--
    mapfile -t COMPREPLY < <(compgen -W "$(
      grep -oE -- '(^|[[ ])--?[a-z][a-z0-9_]+' <<<"$help" |
        sed -E "s/^[[ ]*-+/$dashes/" | sort -u)" -- "$current")
    return 0
  fi
  # "  train    train a model": what may stand as the first word.
  commands=$(sed -nE '/^  -/d; s/^  ([a-z_-]+)( .*|$)/\1/p' <<<"$help")
  [[ -n $given ]] && commands=
  case $(basename "$program") in
    caffe | psctl) mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current") ;;
  esac
}

complete -o default -F _caffe_ssp caffe psctl caffe-worker ps-server \
  convert_imageset convert_cifar_data convert_mnist_data \
  convert_mnist_siamese_data compute_image_mean extract_features \
  upgrade_net_proto_text upgrade_net_proto_binary upgrade_solver_proto_text
