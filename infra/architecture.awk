# Prints the architecture that a template gives a function: awk -v name=CreateInvoiceFunction -f architecture.awk
# template.yaml. That is the first of "Architectures" in the function's block, else the one in Globals, else Lambda's own
# default; nothing, if there is no such function. Lambda knows one architecture a function.
/^[^ #]/ { section = $1; block = "" }
/^  [^ #]/ { block = $1; if (section == "Resources:" && block == name ":") found = 1 }
/^ *Architectures:/ { listed = 1 }
listed && match($0, /arm64|x86_64/) {
    if (section == "Resources:" && block == name ":") own = substr($0, RSTART, RLENGTH)
    if (section == "Globals:" && block == "Function:") global = substr($0, RSTART, RLENGTH)
    listed = 0
}
END { if (found) print own ? own : global ? global : "x86_64" }
