# Completion of claude-failover. Written by `claude-failover completion bash`; do not edit.
_claude_failover() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command="" i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$command ${COMP_WORDS[i]}" in
            " start") command="start" ;;
            " stop") command="stop" ;;
            " restart") command="restart" ;;
            " reload") command="reload" ;;
            " status") command="status" ;;
            " run") command="run" ;;
            " env") command="env" ;;
            " shell-init") command="shell-init" ;;
            " force-backend") command="force-backend" ;;
            " force") command="force-backend" ;;
            " costs") command="costs" ;;
            " logs") command="logs" ;;
            " explain") command="explain" ;;
            " drill") command="drill" ;;
            " doctor") command="doctor" ;;
            " models") command="models" ;;
            " config") command="config" ;;
            "config init") command="config init" ;;
            "config path") command="config path" ;;
            "config check") command="config check" ;;
            "config show") command="config show" ;;
            "config import") command="config import" ;;
            " token") command="token" ;;
            "token set") command="token set" ;;
            "token status") command="token status" ;;
            "token clear") command="token clear" ;;
            " service") command="service" ;;
            "service install") command="service install" ;;
            "service uninstall") command="service uninstall" ;;
            "service status") command="service status" ;;
            " monitoring") command="monitoring" ;;
            "monitoring export") command="monitoring export" ;;
            " statusline") command="statusline" ;;
            " completion") command="completion" ;;
        esac
    done
    COMPREPLY=()
    case "$command:$previous" in
        ":--config") COMPREPLY=($(compgen -f -- "$current")); return ;;
        "stop:--drain") return ;;
        "restart:--drain") return ;;
        "run:--backend") return ;;
        "run:--budget") return ;;
        "env:--shell") COMPREPLY=($(compgen -W "bash zsh fish" -- "$current")); return ;;
        "force-backend:--for") return ;;
        "force-backend:--model") return ;;
        "costs:--since") return ;;
        "costs:--until") return ;;
        "costs:--by") return ;;
        "logs:--lines" | "logs:-n") return ;;
        "logs:--level") COMPREPLY=($(compgen -W "debug info warning error critical" -- "$current")); return ;;
        "logs:--since") return ;;
        "config import:-o" | "config import:--output") return ;;
        "token set:--store") COMPREPLY=($(compgen -W "keyring file" -- "$current")); return ;;
    esac
    case "$command" in
        "") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--config --verbose --version -h --help" -- "$current")); else COMPREPLY=($(compgen -W "start stop restart reload status run env shell-init force-backend costs logs explain drill doctor models config token service monitoring statusline completion" -- "$current")); fi ;;
        "start") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--foreground -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "stop") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--drain --now -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "restart") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--drain --now -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "reload") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "-h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "status") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--watch -w --check --short --json -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "run") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--backend --budget --direct-if-down --ephemeral -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "env") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--shell --unset -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "shell-init") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "-h --help" -- "$current")); else COMPREPLY=($(compgen -W "bash zsh fish" -- "$current")); fi ;;
        "force-backend") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--for --model --json -h --help" -- "$current")); else COMPREPLY=($(compgen -W "claude bedrock auto" -- "$current")); fi ;;
        "costs") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--today --month --since --until --by --json --csv -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "logs") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--follow -f --lines -n --level --since --audit --json -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "explain") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--json -h --help" -- "$current")); else COMPREPLY=($(compgen -W "last" -- "$current")); fi ;;
        "drill") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--list --json -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "doctor") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--json --online --yes -y -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "models") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--refresh --json -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "config") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "-h --help" -- "$current")); else COMPREPLY=($(compgen -W "init path check show import" -- "$current")); fi ;;
        "config init") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--force -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "config path") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--all --json -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "config check") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--json -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "config show") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--json --claude-settings -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "config import") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "-o --output --force -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "token") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "-h --help" -- "$current")); else COMPREPLY=($(compgen -W "set status clear" -- "$current")); fi ;;
        "token set") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--store -h --help" -- "$current")); else COMPREPLY=($(compgen -W "anthropic bedrock" -- "$current")); fi ;;
        "token status") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--json -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "token clear") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "-h --help" -- "$current")); else COMPREPLY=($(compgen -W "anthropic bedrock" -- "$current")); fi ;;
        "service") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "-h --help" -- "$current")); else COMPREPLY=($(compgen -W "install uninstall status" -- "$current")); fi ;;
        "service install") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--print --hardened -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "service uninstall") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "-h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "service status") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--json -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "monitoring") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "-h --help" -- "$current")); else COMPREPLY=($(compgen -W "export" -- "$current")); fi ;;
        "monitoring export") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "--force --json -h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "statusline") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "-h --help" -- "$current")); else COMPREPLY=($(compgen -W "" -- "$current")); fi ;;
        "completion") if [[ $current == -* ]]; then COMPREPLY=($(compgen -W "-h --help" -- "$current")); else COMPREPLY=($(compgen -W "bash zsh fish" -- "$current")); fi ;;
    esac
}
complete -o default -F _claude_failover claude-failover
