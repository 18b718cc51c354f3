/** The completion script for bash. Descriptions are not shown: bash has no place for them. */
export const bashScript = `# bash completion of holdfast: source <(holdfast completion bash)
_holdfast() {
  local program="\${COMP_WORDS[0]/#\\~/$HOME}" fragment="\${COMP_WORDS[COMP_CWORD]}" word line
  local -a words=() lines=()
  # readline takes words apart at = and :, which are part of ours
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD}"; do
    if [[ \${#words[@]} -gt 0 && ( "$word" == [=:]* || "\${words[-1]}" == *[=:] ) ]]; then
      words[-1]+="$word"
    else
      words+=("$word")
    fi
  done
  [[ "$fragment" == [=:]* ]] && fragment=""
  local settled="\${words[-1]%"$fragment"}"
  mapfile -t lines < <("$program" complete -- "\${words[@]}" 2>/dev/null </dev/null)
  COMPREPLY=()
  case "\${lines[0]}" in
    files)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$fragment")
      ;;
    directories)
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -d -- "$fragment")
      ;;
    *)
      for line in "\${lines[@]:1}"; do
        word="\${line%%$'\\t'*}"
        COMPREPLY+=("\${word#"$settled"}")
        [[ "$word" == *= ]] && compopt -o nospace 2>/dev/null
      done
      ;;
  esac
}
complete -F _holdfast holdfast`;
