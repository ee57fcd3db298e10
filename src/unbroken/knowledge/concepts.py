"""What people call the symptoms of broken streams, as data: one concept, many words for it.

Whoever meets a failure that has no message writes prose: "it hangs", "stuck", "froze", "卡住". Each
concept below is one such idea with the words for it, as patterns over text in lower case. `LOOKS`
says which symptoms a fault kind shows to somebody who does not know the wire.

Keep them general: a word is here because people use it, not because one record holds it.
"""

from __future__ import annotations

__all__ = ["CONCEPTS", "CONTEXTS", "LOOKS", "TROUBLE"]

CONCEPTS: dict[str, tuple[str, ...]] = {
    # --- what is seen of the answer
    "cut": (
        r"\bcut(?:s|ting)? (?:it |them )?(?:off|short)", r"\bhalf-? ?way\b",
        r"\b(?:die|dies|died|dying) (?:after|mid|at)\b", r"\bcut\b.{0,20}\b(?:off|short|mid)",
        r"\btruncat\w*",
        (
            r"\b(?:stop|end|die|break|halt|quit|terminate)(?:s|ped|ed|d)? (?:\w+ )?(?:mid|"
            r"half|in the middle|abrupt|early|premature|unexpected|sudden|random|without)"
        ),
        r"\b(?:abruptly|prematurely|suddenly|unexpectedly) (?:stop|end|cut|terminat|halt)\w*",
        r"\bstops? (?:generating|responding|streaming|writing|output)", r"\bincomplete\b",
        r"\bunfinished\b", r"\bhalf[- ](?:finished|written|done)",
        (
            r"\bpartial(?:ly)? (?:response|answer|output|message|content|text|repl|completion|"
            r"assistant)"
        ),
        r"\bmid-?(?: |)(?:sentence|word|response|answer|generation|way|token|output|paragraph)\b",
        r"\bchop\w*", r"\bstops? (?:after|talking|mid|\w+ing)\b",
        r"\bonly (?:half|part|the first)\b",
        r"\b(?:end|rest|tail|last (?:part|word|sentence)s?)\b.{0,30}\b(?:missing|lost|cut)\b",
        r"\b(?:did|does|do)(?:n'?t| not) (?:finish|complete)",
        r"\bearly (?:eof|end|terminat|clos)\w*", r"\bunexpected (?:eof|end)\b", r"\bpremature\w*",
        r"\bnever (?:finish|complete|reach)\w*",
        r"\bnot (?:fully |being )?(?:complete|finish)\w*", r"\binterrupted\b", r"截断", r"中断",
        r"不完整", r"断掉", r"断了", r"一半", r"没有?(?:说|写|输出|回答)完", r"戛然而止",
    ),
    "stalled": (
        r"\b(?:hang|hung|hangs|hanging)\b(?! ?-?up)", r"\bstuck\w*",
        r"\bfr[eo]+ze?(?:s|n|ing)?\b", r"\bfreez\w*", r"\bstall\w*", r"\bwedged\b", r"\bzombie\b",
        r"\bindefinite\w*", r"\bforever\b",
        r"\b(?:blocks|blocked|blocking|pending|waits|waiting) (?:for|on|indefinite|until)",
        (
            r"\bnever (?:finish|complet|return|resolv|end|settl|advanc|terminat|progress|come|"
            r"arriv|respond|continu)\w*"
        ),
        (
            r"\bno (?:more |new |further )?(?:chunks?|tokens?|data|content|events?|output|"
            r"activity|progress|bytes?|updates?) (?:\w+ )?(?:for|within|in|after|since)\b"
        ),
        r"\b(?:idle|inactivity|stall|stream|watchdog|liveness)[- _]?timeout",
        r"\bgo(?:es)? silent", r"went silent", r"\bnot (?:processing|progressing|responding)\b",
        r"\bunresponsive\b", r"\bnot stopping\b",
        r"\b(?:keeps?|infinite(?:ly)?) (?:load|wait|spinn)\w*", r"\bspinner\b", r"卡住", r"卡死",
        r"卡顿", r"无响应", r"没有?响应", r"挂起", r"没反应", r"一直(?:加载|转圈|等待)",
        r"不动了",
    ),
    "slow": (
        r"\btakes? (?:too |so |very |a )?(?:long|forever|ages|minutes)\b", r"\blatency\b",
        r"\b(?:slow(?! down)|slower|slowly|slowness|sluggish|laggy|crawl\w*|trickl\w*|drip\w*)\b",
        r"\b(?:tokens?|tok|words?|char\w*)[ /](?:per |a )?s(?:ec\w*)?\b", r"\btps\b",
        r"\bthroughput\b", r"很慢", r"太慢", r"慢一点", r"缓慢", r"速度慢",
    ),
    "timeout": (
        r"\btime[sd]?[- _]?out\w*", r"\w{1,30}timeout\w*", r"\bdeadline\w*", r"超时",
    ),
    "twice": (
        r"\bduplicat\w*", r"\btwice\b",
        (
            r"\brepeat(?:s|ed|ing|edly)? (?:\w+ ){0,2}(?:token|text|word|chunk|content|"
            r"message|part|sentence|answer|response|output|event)"
        ),
        r"\bdoubl(?:ed|ing)\b",
        (
            r"\b(?:token|text|word|chunk|content|message|sentence|event|"
            r"delta)s? (?:\w+ )?(?:repeat|doubl)\w*"
        ),
        r"\bdouble[sd]? (?:token|text|word|message|content|output|render|emit)\w*",
        r"\bmultiple times\b", r"\bsent again\b", r"重复", r"两遍", r"两次", r"双份",
    ),
    "order": (
        r"\bout[- ]of[- ](?:order|sequence)", r"\binterleav\w*", r"\bscrambl\w*", r"\bjumbl\w*",
        r"\bshuffl\w*", r"\bmixed up\b",
        r"\b(?:wrong|incorrect|random|right|correct) (?:order|sequence)",
        r"\b(?:word|token|chunk|event|delta|message)s?[- ]order\b", r"\bre-?order\w*", r"乱序",
        r"顺序(?:错|不|混)", r"错位",
    ),
    "garbled": (
        r"\bmojibake\b", r"\breplacement char\w*", r"u\+fffd", r"\ufffd", r"\bgarbl\w*",
        r"\bgibberish\b", r"\bcorrupt\w*", r"\bmangled\b", r"\bweird (?:char|symbol|text)\w*",
        r"乱码",
    ),
    "lost words": (
        (
            r"\bmissing (?:\w+ )?(?:token|word|chunk|char|text|letter|piece|event|content|"
            r"delta|part)"
        ),
        (
            r"\b(?:token|word|chunk|character|letter|event|delta|"
            r"part)s? (?:\w+ ){0,5}(?:missing|lost|dropp|skipp|swallow|eaten|omitted|"
            r"disappear)"
        ),
        (
            r"\b(?:los(?:e|es|ing|t)|drop(?:s|ped|ping)?|skip(?:s|ped|ping)?|swallow\w*|"
            r"eat(?:s|ing)?|omit\w*) (?:\w+ ){0,3}(?:token|word|chunk|char|letter|event|delta|"
            r"part|piece|reply|repl|content)"
        ),
        r"\bgaps? in\b", r"丢失", r"丢字", r"漏字", r"缺失", r"少字", r"吞字",
    ),
    "empty": (
        r"\b(?:empty|blank)\b",
        (
            r"\bno (?:\w+ )?(?:output|content|response|answer|text|generation|chunk|token|"
            r"data)s? (?:\w+ )?(?:return|found|produc|generat|receiv|emit|display|shown|"
            r"appear)"
        ),
        r"\b(?:isn|wasn|not)(?:'?t)? (?:shown|showed|displayed|rendered|visible)\b",
        r"\bnothing (?:\w+ )?(?:return|shown|display|generat|come|appear|receiv)\w*",
        r"\b(?:zero|0) (?:output|tokens|chunks|bytes|events|content)",
        r"\bwithout (?:any )?(?:output|content|text|chunk|data)", r"是空",
        r"空(?:字符串|值|回复|响应|白|内容|返回|的)", r"没有(?:内容|输出|返回)", r"返回为空",
    ),
    "finish": (
        r"\b(?:finish|stop)[ _-]?reason\w*", r"missing_?finish",
    ),
    "no finish": (
        (
            r"(?:\bwithout|\bno|\bmissing|\bnever|\bnull|\black\w*|\bundefined|\bbefore|"
            r"\bnot)\W{1,4}(?:[\w`]{1,30}\W{1,4}){0,4}?(?:finish|stop)[ _-]?reason"
        ),
        (
            r"\b(?:finish|stop)[ _-]?reason\W{1,4}(?:\w+\W{1,4}){0,3}?(?:null|none|missing|"
            r"undefined|absent|never|unknown|other|empty)\b"
        ),
        r"missing_?finish", r"(?:没有|缺少|为空).{0,8}finish_?reason",
    ),
    "terminator": (
        r"\[done\]", r"\bdone (?:marker|event|message|sentinel|signal)", r"\bterminator\b",
        r"\bmessage_stop\b", r"\bresponse\.completed\b", r"\bend[- ]of[- ]stream\b",
        r"\bterminal (?:event|marker|chunk|data)",
    ),
    "no terminator": (
        (
            r"(?:\bwithout|\bno|\bmissing|\bnever|\bnot|n't|\bomit\w*|\black\w*|"
            r"\bbefore)\W{1,4}(?:[\w`]{1,30}\W{1,4}){0,5}?(?:\[done\]|done (?:marker|event|"
            r"message|sentinel)|terminator|message_stop|response\.completed|terminal (?:event|"
            r"marker|chunk|data))"
        ),
        r"\[done\]\W{1,4}(?:\w+\W{1,4}){0,4}?(?:missing|never|absent|not)",
    ),
    "filter": (
        r"\bcontent[ _-]?filter\w*", r"\bsafety\b", r"\bmoderation\b", r"\bpolic(?:y|ies)\b",
        r"\brecitation\b", r"\brefusal\b", r"\bblocked by\b", r"\bresponsible ai\b",
        r"内容(?:过滤|审核|安全)", r"敏感",
    ),
    "token limit": (
        r"\bmax[ _-]?(?:\w+[ _-])?(?:output[ _-]?|completion[ _-]?|new[ _-]?)?tokens\b",
        r"\btoken limit", r"\b(?:output|length|generation) (?:token )?limit",
        r"\bmaximum (?:output|length)", r"(?:finish|stop)[ _-]?reason\W{1,4}length\b",
        r"\bmaxtokens\b", r"\bnum_predict\b", r"最大(?:长度|token)",
    ),
    "context window": (
        r"\bcontext[ _-]?(?:length|window|size|limit)", r"\btoo many (?:input )?tokens",
        r"\bprompt is too long", r"\bmaximum context", r"\binput (?:is )?too long",
        r"上下文.{0,4}(?:长度|超|过长|限制)",
    ),
    "too large": (
        r"\btoo (?:big|large|long)\b", r"\boversized?\b",
        (
            r"\b(?:line|chunk|buffer|event|message|frame|payload|"
            r"scanner)\w*(?:\W{1,4}\w+){0,4}?\W{1,4}(?:limit|larger|exceed\w*|too (?:big|"
            r"large|long))"
        ),
        r"\blarger than\b", r"\bmore than \d+ (?:bytes|kb|mb)",
        r"\blimit(?:s|ed)? (?:of|to) \d+ ?(?:bytes|kb|mb|kib|mib)",
        r"\b(?:linetoolong|limitoverrun|bufferoverflow|token too long)\w*", r"过大", r"过长",
        r"太大", r"太长",
    ),
    "not a stream": (
        (
            r"(?:\bnot|\bisn'?t|\bno|n't|\bexpected|\binstead of|\bunexpected|\binvalid|"
            r"\bwrong)\W{1,4}(?:[\w`]{1,30}\W{1,4}){0,5}?(?:event[ -]?stream|content[- ]?type|"
            r"mime)"
        ),
        r"\bhtml\b.{0,40}\b(?:instead|response|page|body)",
        r"\breturn\w* (?:an? )?(?:html|web page)", r"<!doctype", r"<html", r"\bcontent[- ]type\b",
        r"\bmime type\b",
        r"\b(?:json|string|whole|full)\b.{0,30}\binstead of (?:an? )?(?:event|sse|stream)",
    ),
    "json": (
        r"json\w*", r"\bpars(?:e|es|ed|er|ing)\b", r"\bdeseriali[sz]\w*", r"\bunmarshal\w*",
        r"解析",
    ),
    "malformed": (
        r"\bmalformed\b", r"\binvalid (?:\w+ )?json", r"\bunpars\w*", r"\bcorrupt\w*",
        r"\bfail\w* to (?:parse|decode|deserialize|unmarshal)",
        r"\bpars(?:e|er|ing)\w* (?:\w+ )?(?:error|fail|exception)\w*",
        r"\berror (?:while |when )?(?:pars|decod)\w*", r"\b(?:not|isn't) (?:\w+ )?json\b",
        r"\bcannot parse", r"can'?t parse", r"could not parse", r"解析(?:失败|错误|异常)",
        r"格式错误",
    ),
    "split": (
        r"\bsplit\w* (?:\w+ ){0,3}?(?:across|over|between|into|in|at)\b",
        (
            r"\b(?:partial|incomplete|half|fragment\w*|truncated) (?:a |"
            r"an )?(?:\w+ )?(?:chunk|line|event|json|frame|utf|byte|sse|packet|data)\b"
        ),
        r"\bboundar(?:y|ies)\b", r"\bacross (?:\w+ )?(?:chunk|packet|read|buffer|tcp)s?\b",
        r"粘包", r"半包", r"拆包",
    ),
    "letters": (
        r"\butf-?_?8\b", r"\bunicode\w*", r"\bmulti-?_?byte\b", r"\bemojis?\b", r"\bcodec\b",
        r"\bbyte-?fallback\b", r"\bsurrogate\w*",
        r"\b(?:chinese|japanese|korean|cyrillic|arabic|hindi|thai|vietnamese|non-?ascii|cjk)\b",
        r"\b(?:special|accented|strange|weird|broken) (?:char|symbol|letter)\w*", r"乱码",
        r"编码", r"字符(?!串)",
    ),
    "tool call": (
        r"\btool[ _-]?(?:calls?|use|input|args?|arguments?)\w*", r"\bfunction[ _-]?call\w*",
        r"\barguments\b", r"\binput_json_delta\b", r"\btool_\w+", r"工具(?:调用|参数)",
        r"函数(?:调用|参数)",
    ),
    "protocol": (
        r"\bevent[- ]order\b", r"\bunexpected event", r"\bprotocol (?:violation|error)",
        r"\bchecksum\b", r"\bout[- ]of[- ]spec\b", r"\bmessage_start\b", r"\bcontent_block_\w+",
        r"\blifecycle\b", r"\bresponse\.(?:created|in_progress|output_\w+|content_part\w*)",
        r"\bviolat\w+", r"\bspec(?:ification)?\b", r"\bnon-?(?:compliant|standard|conformant)\b",
        r"协议",
    ),
    "error event": (
        r"\berror (?:event|object|payload|frame|chunk|delta|message)s?\b(?:.{0,40}\bstream)?",
        r"\b(?:event|chunk|frame)s? (?:that )?(?:with|contain\w*|carr\w*|holding) (?:an? )?error",
        r"\bmid-?stream\W{1,4}(?:\w+\W{1,4}){0,2}?(?:error|failure|exception)", r"\bin-?band\b",
        r"\berrors? (?:in|inside|within|during|mid) (?:the |a |an )?(?:\w+ )?stream",
        r"\bstream(?:ing)? error\b", r"\bevent: ?error\b", r"\b200 (?:ok )?.{0,40}\berror\b",
    ),
    "overload": (
        r"\boverload\w*", r"\b(?:at|no|out of|insufficient|limited) capacity", r"\btoo busy\b",
        r"\bhigh demand", r"\bhigh load", r"过载", r"繁忙", r"负载",
    ),
    "rate limit": (
        r"\brate[- _]?limit\w*", r"\btoo many requests", r"\bthrottl\w*", r"\b[rt]p[md]\b",
        r"\bquota\b", r"限流", r"频率", r"请求过多",
    ),
    "credit": (
        r"\bbilling\b", r"\bcredits?\b", r"\bbalance\b", r"\binsufficient_?quota",
        r"\bcurrent quota", r"余额", r"欠费", r"额度",
    ),
    # --- what is seen of the connection
    "dropped": (
        (
            r"\b(?:connection|socket|stream|peer|upstream|tcp|transport|remote|remote end|"
            r"other side|server)\W{1,4}(?:\w+\W{1,4}){0,3}?(?:reset|clos\w+|dropp\w*|lost|"
            r"terminat\w+|abort\w*|broken|disconnect\w*|died|severed|torn)"
        ),
        (
            r"\b(?:reset|clos\w+|drop\w*|lost|losing|terminat\w+|disconnect\w*|kill\w*|"
            r"sever\w*)\W{1,4}(?:(?:the|a|its|my|tcp|http|sse|idle|client|upstream|open|"
            r"long) ){0,4}(?:connection|socket|stream)s?\b"
        ),
        r"\bdisconnect\w*", r"\beconnreset\b", r"\bhang ?up\b", r"\bnetwork ?error\b",
        r"\bbroken pipe\b", r"\bepipe\b", r"断开", r"断连", r"连接(?:中断|重置|关闭)",
    ),
    "connect": (
        (
            r"\b(?:cannot|can ?not|can'?t|could not|couldn'?t|unable to|fail\w* to|"
            r"failed)\W{1,4}(?:connect|reach)\w*"
        ),
        r"\bconnect(?:ion)? (?:refused|fail\w*|attempt\w*|error)", r"\bunreachable\b",
        r"\beconnrefused\b", r"\bno route\b", r"连接失败", r"无法连接", r"连不上",
    ),
    "refused": (
        r"\bconnect\w* refused\b", r"\beconnrefused\b",
        r"\brefused (?:to connect|the connection)", r"拒绝连接", r"连接被拒",
    ),
    "dns": (
        r"\bdns\b", r"\bgetaddrinfo\b", r"\benotfound\b", r"\beai_\w+", r"\bname or service\b",
        r"\bname resolution", r"\bnodename\b", r"\bresolve (?:the )?(?:host|name)",
        r"\bunknown host", r"域名", r"解析不到",
    ),
    "tls": (
        r"\b(?:tls|ssl|x509)\b", r"\bcertificates?\b", r"\bself[- ]signed\b", r"\bcert_\w+",
        r"证书",
    ),
    "left": (
        r"\bcancel\w*", r"\babort(?!error)\w*",
        (
            r"\b(?:client|user|browser|consumer|caller|"
            r"downstream)s? (?:\w+ )?(?:disconnect\w*|left|leav\w*|clos\w*|gone|hung up|"
            r"went away|stopp?\w*|cancel\w*)"
        ),
        r"\bstop (?:button|generation)",
        (
            r"\b(?:stop|interrupt|reject|cancel)(?:s|ing|ted)? (?:[\w']+ ){0,3}?(?:response|"
            r"generation|output|reply|answer|stream|message)"
        ),
        r"\bkeeps? (?:on )?(?:generating|running|billing|burning)",
        r"\bclos\w+ (?:the |a )?(?:tab|browser|page|window)",
        r"\bclient_?(?:closed|disconnect\w*)", r"\b499\b", r"取消", r"停止(?:按钮|生成)",
        r"关闭页面",
    ),
    "restart": (
        r"\brestart\w*", r"\bredeploy\w*", r"\bduring (?:a |the )?deploy\w*",
        r"\brolling (?:update|restart)", r"\boom\w*", r"\bsig(?:kill|term|int)\b", r"\bcrash\w*",
        r"\bevict\w*", r"\bkilled\b", r"\bdrain\w*", r"\bshutdown\b", r"\bshutting down\b",
        r"\bexit code \d+", r"\bout of memory\b", r"重启", r"崩溃", r"内存不足",
    ),
    # --- what lies between, and who says it
    "buffered": (
        r"\bbuffer(?:s|ed|ing)?\b", r"\b(?:all )?at once\b",
        r"\b(?:in|as) one (?:go|piece|block|chunk|shot|blob|big)",
        r"\b(?:one|single) (?:big|large|huge|long) (?:chunk|block|piece|message|blob)",
        r"\blong chunk\b",
        r"\bnot (?:really |truly |actually |being |properly ){0,3}stream(?:ed|ing)?\b",
        (
            r"(?:\bisn|\bdoesn|\bdon|\bwon|\bwasn|\baren)'?t (?:really |truly |actually |"
            r"being |seem to |even ){0,3}stream\w*"
        ),
        r"\b(?:does|do|is|are|will) not (?:really |truly |actually |being ){0,3}stream\w*",
        r"\brather than (?:\w+ ){0,3}stream\w*",
        (
            r"\bonly (?:\w+ ){0,3}(?:after|when|once)\b.{0,50}\b(?:complete|finish|done|end|"
            r"ready|generated)"
        ),
        r"\buntil\b.{0,50}\b(?:complete|finish|done|end\b|ready|generated)",
        r"\bno streaming effect",
        (
            r"\b(?:whole|entire|full|complete) (?:response|answer|output|message|"
            r"text)\b.{0,30}\b(?:once|end|together|time)"
        ),
        r"\bin (?:big |large )?(?:batches|bursts|clumps)",
        r"\b(?:word|token|letter|char\w*)[ -]by[ -](?:word|token|letter|char)", r"\btypewriter\b",
        r"\bfake stream", r"一次性", r"整段", r"不是流式", r"没有流式", r"非流式", r"缓冲",
        r"一下子",
    ),
    "compressed": (
        r"\bgzip\w*", r"\bcompress\w*", r"\bbrotli\b", r"\bdeflate\b", r"\bzstd\b",
        r"\bcontent-encoding\b", r"压缩",
    ),
    "proxy": (
        r"\bprox(?:y|ies|ied)\b", r"\bgateway\b", r"\bcdn\b", r"\bingress\b", r"\bmiddlebox\b",
        r"\bedge\b", r"反向代理", r"网关", r"代理",
    ),
    "load balancer": (
        r"\bload[- ]?balancers?\b", r"\b[ane]lb\b", r"负载均衡",
    ),
    "api gateway": (
        r"\b(?:aws |amazon )?api[- ]gateway\b", r"\bapigw\b", r"\b29[- ]?(?:s|sec\w*)\b",
    ),
    "idle": (
        r"\bidle\w*", r"\bkeep-?alive\b", r"\bheartbeat\b", r"\binactiv\w*", r"空闲", r"保活",
    ),
    "cloudflare": (
        r"\bcloudflare\b", r"\bcf-ray\b", r"\bjust a moment\b", r"\b52[0-7]\b",
    ),
    "serverless": (
        r"\bvercel\b", r"\bserverless\b", r"\bmaxduration\b", r"\bfunction_invocation\w*",
        r"\bnetlify\b", r"\blambda\b", r"\bedge function",
    ),
    "mesh": (
        r"\benvoy\b", r"\bistio\b", r"\bupstream connect error\b", r"\bservice mesh\b",
    ),
    "http2": (
        r"\bhttp/?2\b", r"\bgoaway\b", r"\brst_stream\b", r"\bh2\b", r"\bnghttp2?\w*",
    ),
    "dev loop": (
        r"\bevent loop\b", r"事件循环",
    ),
    "generator": (
        r"\basync(?:hronous)? ?generator\w*", r"\baclose\b", r"\bgeneratorexit\b",
        r"\bcancel scope\b",
    ),
    "bad key": (
        r"\b(?:401|unauthori[sz]ed|unauthenticated|authentication\w*)\b",
        (
            r"\b(?:invalid|incorrect|wrong|missing|expired) (?:\w+ )?(?:key|credential|"
            r"token provided)\w*"
        ),
        r"\bapi[ _-]?key\b", r"密钥", r"未授权", r"鉴权",
    ),
    "no such model": (
        (
            r"\bmodel\b.{0,40}\b(?:not found|(?:does|did) not exist|doesn'?t exist|unknown|"
            r"not supported|unavailable)"
        ),
        r"\b(?:unknown|no such|invalid|unsupported) model\b", r"\bmodel_not_found\b",
        r"模型不存在",
    ),
    "no choices": (
        r"\b(?:no|empty|without|zero)\W{1,4}choices\b",
        r"\bchoices\W{1,4}(?:\w+\W{1,4}){0,3}?(?:empty|missing|none)", r"\bchoices?(?:\[0\])?\b",
        r"\bindex ?error\b", r"\bindex out of",
    ),
    "no content field": (
        r"\bkey ?error\b", r"'content'", r'\"content\"', r"\bno attribute\b",
        r"\bdelta\.content\b", r"\bmissing content\b",
    ),
    "none": (
        r"\bnone(?:type)?\b",
    ),
    "prefill": (
        r"\bprefill\w*", r"\b(?:final|last|trailing) (?:message|assistant|turn)\b",
        r"\bassistant message\b", r"\bend with (?:a|an) (?:user|assistant)",
    ),
    "memory": (
        r"\bv?ram\b", r"\bout of memory\b", r"\bsystem memory\b", r"\bcuda\b", r"\bgpu\b",
        r"显存",
    ),
    "resume": (
        r"\bresum\w*", r"\bstarting_after\b", r"\breconnect\w*", r"\bpick up where",
    ),
}  # fmt: skip
"""The concepts: their names, and patterns over text in lower case; one of them is enough."""

CONTEXTS = frozenset(
    (
        "api gateway", "bad key", "cloudflare", "compressed", "context window", "dev loop",
        "filter", "finish", "generator", "http2", "idle", "json", "left", "letters",
        "load balancer", "memory", "mesh", "no choices", "no content field", "none", "prefill",
        "proxy", "restart", "resume", "serverless", "terminator", "token limit", "tool call",
    )
)  # fmt: skip
"""Concepts that say where or with what: something is wrong only beside a word of trouble."""

LOOKS: dict[str, tuple[str, ...]] = {
    "truncated-between-events": (
        "cut",
        "cut",
    ),
    "truncated-mid-event": (
        "split",
        "cut",
    ),
    "connection-reset": ("dropped",),
    "missing-terminator": (
        "no terminator",
        "terminator",
    ),
    "missing-finish": (
        "no finish",
        "finish",
    ),
    "empty-stream": ("empty",),
    "not-a-stream": ("not a stream",),
    "malformed-json": (
        "malformed",
        "json",
        "split",
    ),
    "invalid-utf8": (
        "letters",
        "garbled",
        "split",
    ),
    "oversized-event": ("too large",),
    "out-of-order": (
        "order",
        "garbled",
    ),
    "duplicate-event": ("twice",),
    "missing-event": ("lost words",),
    "protocol-violation": ("protocol",),
    "provider-error": ("error event",),
    "stalled": (
        "stalled",
        "idle",
    ),
    "slow-drip": ("slow",),
    "invalid-tool-arguments": (
        "tool call",
        "malformed",
    ),
    "length-limit": (
        "token limit",
        "cut",
    ),
    "content-filtered": ("filter",),
    "connect-failed": ("connect",),
    "cancelled": ("left",),
}
"""What a fault kind looks like to whoever knows only what was on the screen; the first most."""

TROUBLE = (
    r"\w*(?:error|exception)\w*|\b(?:err\w*|mismatch\w*|fail\w*|bug\w*|issues?|"
    r"problems?|wrong\w*|broken?|breaks?|crash\w*|invalid\w*|unexpected\w*|"
    r"not work\w*|doesn'?t|does not|don'?t|can ?not|can'?t|won'?t|unable|stops?|"
    r"stopped|reject\w*|kill\w*|missing|silent\w*|blocks?|blocked|drops?|dropped|"
    r"violat\w*|exceed\w*|refus\w*|filtered|triggers?|triggered|cancel\w*|abort\w*|"
    r"filter|disconnect\w*|keeps?|extra data|expecting|unterminated|malformed|lost|"
    r"unauthorized|restarted|timeouts?|hard)\b|错误|失败|报错|异常|问题|无法|不能|被"
)
"""Words that say that something is wrong."""
