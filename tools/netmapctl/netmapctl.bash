# SPDX-License-Identifier: BSD-2-Clause
# Completion of netmapctl for bash: netmapctl itself knows the words (netmapctl complete).

_netmapctl()
{
	local words=("${COMP_WORDS[@]:1:COMP_CWORD}") line cur=${COMP_WORDS[COMP_CWORD]}

	# bash cuts vale1:10 at the colon: put it together again.
	if declare -F _get_comp_words_by_ref >/dev/null; then
		local cword
		words=()
		_get_comp_words_by_ref -n : cur words cword
		words=("${words[@]:1:cword}")
	fi
	COMPREPLY=()
	while IFS= read -r line; do
		COMPREPLY+=("$line")
	done < <("${COMP_WORDS[0]}" complete "${words[@]}" 2>/dev/null)
	if declare -F __ltrim_colon_completions >/dev/null; then
		__ltrim_colon_completions "$cur"
	fi
}

complete -o default -F _netmapctl netmapctl
