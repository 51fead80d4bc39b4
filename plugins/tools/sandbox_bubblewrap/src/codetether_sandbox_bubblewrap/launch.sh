# Start bwrap ("$@"), and again without the masks of what is gone by now: sockets and git's folders of other worktrees come
# and go, and bwrap gives up where it cannot mount; with -try too, when it had seen it there. Never again once the command itself was started: only then bwrap says with which exit code it ended.
#
# $0: number of the filter's file, one for all commands; each opens it anew, because two readers of one open file share
# its position. Callers give what they hand on numbers of two digits.
# The shell stays: bwrap dies with the *thread* that started it (PR_SET_PDEATHSIG), and trio's worker threads end when
# idle for 10 s. The shell's only thread lives as long as the command; when the agent dies, its guard ends the shell.
began() {
	while read -r said <&8; do
		case $said in *exit-code*) return 0 ;; esac
	done
	return 1
}
while :; do
	{
		"$@" 9<"/proc/self/fd/$0" 7>/proc/self/fd/8 8<&-
		code=$?
		[ $code -ne 1 ] || began
	} 8<<end && exit $code
end
	words='' number=0 last='' before='' options=yes gone=''
	for word do
		number=$((number + 1)) words="$words \"\${$number}\""
		[ "$word" != -- ] || options=''
		case $options$before in
		yes--ro-bind) [ "$last" = /dev/null ] ;;
		yes--bind-try | yes--ro-bind-try) ;;
		*) false ;;
		esac && ! [ -e "$word" ] && words=${words% * * *} gone=yes
		before=$last last=$word
	done
	[ "$gone" ] || exit $code
	eval "set -- $words"
done
