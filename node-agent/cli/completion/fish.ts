/** The completion script for fish. */
export const fishScript = `# fish completion of holdfast: holdfast completion fish | source
function __holdfast_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    set -l lines ($program complete -- $words "$current" 2>/dev/null </dev/null)
    set -l kind "$lines[1]"
    set -e lines[1]
    switch "$kind"
        case files directories
            set -l settled (string match -r -- '^--[^=]*=' "$current")
            set -l path (string replace -- "$settled" '' "$current")
            if test "$kind" = files
                string replace -r -- '^' "$settled" (__fish_complete_path "$path")
            else
                string replace -r -- '^' "$settled" (__fish_complete_directories "$path")
            end
        case words
            for line in $lines
                echo $line
            end
    end
end
complete -c holdfast -f -a '(__holdfast_complete)'`;
