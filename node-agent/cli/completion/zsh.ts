/** The completion script for zsh: to be sourced, or to lie as _holdfast in a directory of fpath. */
export const zshScript = `#compdef holdfast
# zsh completion of holdfast: source <(holdfast completion zsh), after compinit
_holdfast() {
  local program=\${(Q)words[1]} line value
  local -a lines whole open
  [[ $program == '~'* ]] && program=\${~program}
  lines=("\${(@f)$("$program" complete -- "\${(@Q)words[2,CURRENT-1]}" "\${(Q)PREFIX}" 2>/dev/null </dev/null)}")
  case $lines[1] in
    files|directories)
      [[ $PREFIX == --*=* ]] && compset -P '*='
      if [[ $lines[1] == files ]]; then _files; else _files -/; fi
      ;;
    words)
      for line in "\${(@)lines[2,-1]}"; do
        value=\${\${line%%$'\\t'*}//:/\\\\:}
        [[ $line == *$'\\t'* ]] && line="$value:\${line#*$'\\t'}" || line=$value
        if [[ $value == *= ]]; then open+=("$line"); else whole+=("$line"); fi
      done
      _describe -t holdfast 'holdfast' whole
      _describe -t holdfast 'holdfast' open -S ''
      ;;
  esac
}
if [[ $funcstack[1] == _holdfast ]]; then
  _holdfast "$@"
else
  compdef _holdfast holdfast
fi`;
