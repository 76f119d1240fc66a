"""Writes golden/oracle/*.txt: what each recorded request of Claude Code is, by a rule written apart from ours.

Run it by hand when a recording is added: `python3 oracle.py`. The rule's two functions are those of the notes on the wire.
"""

import pathlib

# The request classifier and the last-input rule of claude-client.md, as an oracle for tests: classify(body, headers) and step(session_id, body).
# In the recordings a text block that reads '<N characters>' stands for a redacted system-reminder.
import re
import json
NUDGE=("Output token limit hit. Resume directly","Your response above was cut off mid-stream.","[Your previous response had no visible output.","The previous response failed to produce a valid tool call","Your response above was stopped by a safety classifier","Stop hook feedback:","[structured-output-enforce]")
DROP=("<system-reminder>","<local-command-","<command-name>","<command-message>","This session is being continued from a previous conversation")
def blocks(m):
    c=m['content']; return [{'type':'text','text':c}] if isinstance(c,str) else c
def classify(b,h):
    rc=h.get('x-claude-code-request-class')
    if rc and rc!='main': return 'side:'+rc
    if b.get('max_tokens')==1: return 'probe'
    s=b.get('system'); st=[s] if isinstance(s,str) else [x['text'] for x in s or []]
    if any('cc_is_subagent=' in x[:200] for x in st): return 'side:subagent'
    if not b.get('tools') and (b.get('output_config') or {}).get('format'): return 'side:schema'
    if any(t.get('type','') and str(t['type']).startswith('web_search') for t in b.get('tools') or []): return 'side:websearch'
    M=[m for m in b['messages'] if m['role']!='system']; last=M[-1]
    if last['role']=='user':
        t=next((x['text'] for x in blocks(last) if x['type']=='text'),'')
        if t.startswith('CRITICAL: Respond with TEXT ONLY.'): return 'side:compaction'
        if t.startswith('<system-reminder>This is a side question'): return 'side:btw'
    if len(st)>2 and st[2].startswith('You are evaluating a hook'): return 'side:hook'
    cc=[i for i,m in enumerate(b['messages']) for x in blocks(m) if x.get('cache_control')]
    lu=max(i for i,m in enumerate(b['messages']) if m['role']=='user')
    if cc and max(cc)<lu: return 'side:fork'
    return 'main'
def last_input(b):
    M=[m for m in b['messages'] if m['role']!='system']; run=[]
    while M and M[-1]['role']=='user': run.insert(0,M.pop())
    out=[];prev=None;tr=0
    for m in run:
        for x in blocks(m):
            if x['type']=='tool_result': tr+=1; continue
            if x['type']=='text':
                t=x['text'].strip()
                if not t or t.startswith(DROP) or t in('[Request interrupted by user]','[Request interrupted by user for tool use]'): prev=x;continue
                if t.startswith('[Image: source: ') and prev and prev['type']=='image': continue
                out.append(t)
            else: out.append('<%s>'%x['type'])
            prev=x
    nud=[o for o in out if o.startswith(NUDGE)]
    if nud or (tr and not out): return ('CONT',[o[:40] for o in nud] or 'tool_result')
    return ('INPUT',out)
acc={}
def step(sid,b):
    M=[m for m in b['messages'] if m['role']!='system']; run=[]
    while M and M[-1]['role']=='user': run.insert(0,M.pop())
    items=[];prev=None;tr=0;comp=False
    for m in run:
        for x in blocks(m):
            if x['type']=='tool_result': tr+=1; continue
            if x['type']=='text':
                t=x['text'].strip()
                if t.startswith('This session is being continued'): comp=True
                if not t or re.fullmatch(r'<\d+ characters>',t) or t.startswith(DROP) or t in('[Request interrupted by user]','[Request interrupted by user for tool use]'): prev=x;continue
                if t.startswith('[Image: source: ') and prev and prev['type']=='image': continue
                items.append(t)
            else: items.append(json.dumps({k:v for k,v in x.items() if k!='cache_control'},sort_keys=True)[:80])
            prev=x
    if not items: return ('CONT' if tr else 'EMPTY',)
    if items[-1].startswith(NUDGE): return('CONT',items[-1][:30])
    for i in range(len(items)-1,-1,-1):
        if items[i].startswith(NUDGE): items=items[i+1:]; break
    key=(sid,len(M),comp); a=acc.setdefault(key,[]); n=0
    while n<len(a) and n<len(items) and a[n]==items[n]: n+=1
    new=items[n:]
    if not new: return ('RETRY',)
    acc[key]=a[:n]+new
    return ('NEW',new)


def lines(name):
    acc.clear()
    for entry in json.loads(pathlib.Path(f"claude-client/{name}.json").read_text()):
        if entry["method"] != "POST" or entry["path"] != "/v1/messages":
            continue
        body, headers = entry["body"], {key.lower(): value for key, value in entry["headers"]}
        kind = classify(body, headers)
        shape = classify(body, {})
        if kind != "main":
            yield f"{kind} {shape}"
            continue
        found = step(headers.get("x-claude-code-session-id", ""), body)
        new = found[1] if found[0] == "NEW" else []
        shown = ["<attachment>" if item.startswith('{"') else item[:40] for item in new]
        yield " ".join([kind, shape, found[0], json.dumps(shown, ensure_ascii=False)])


if __name__ == "__main__":
    out = pathlib.Path("golden/oracle")
    out.mkdir(parents=True, exist_ok=True)
    for file in sorted(pathlib.Path("claude-client").glob("*.json")):
        (out / f"{file.stem}.txt").write_text("".join(f"{line}\n" for line in lines(file.stem)))
