%% Runs scripts through Erlang/OTP's own supervisor and writes down what it did.
%%
%% main([In, Out]): In has one script a line, as Erlang terms (script.py says what they mean); Out gets one JSON line
%% for each: a list of lists of words. After each step of a script it waits until supervisor and children are at rest.
-module(oracle).
-behaviour(supervisor).
-export([main/1, init/1, start_worker/1, start_spawned/3, start_branch/1, worker/4, doomed/1, log/2]).

-define(LOOKS, 20000).

main([In, Out]) ->
    {ok, Scripts} = file:consult(In),
    ok = logger:remove_handler(default),
    ok = logger:set_primary_config(level, error),
    ok = logger:add_handler(oracle, ?MODULE, #{}),
    ets:new(inits, [named_table, public]),
    {ok, File} = file:open(Out, [write, raw]),
    lists:foreach(fun(Script) -> ok = file:write(File, [json(run(Script)), $\n]) end, Scripts),
    ok = file:close(File),
    halt(0).

%% -- one script ----------------------------------------------------------------------------------------------

run({Flags, Specs, Steps}) ->
    process_flag(trap_exit, true),
    Notary = spawn_link(fun() -> notary([], #{}, #{}, #{}) end),
    register(notary, Notary),
    lists:foreach(fun behave/1, Specs),
    put(simple, maps:get(strategy, Flags) =:= simple_one_for_one),
    set_init(Flags, Specs),
    First = case supervisor:start_link(?MODULE, []) of
        {ok, Sup} ->
            put(sup, Sup),
            put(ended, undefined),
            settle(),
            [[ok] | look()];
        {error, {shutdown, {failed_to_start_child, Id, Reason}}} ->
            receive {'EXIT', _, _} -> ok end,
            put(ended, failed),
            [[error, Id, reason(Reason)] | look()]
    end,
    Traces = steps(Steps),
    unlink(Notary),
    unregister(notary),
    exit(Notary, kill),
    First ++ lists:append(Traces).

steps([]) -> [];
steps([Step | Rest]) ->
    case get(ended) of
        undefined -> Trace = step(Step), [Trace | steps(Rest)];
        _ -> []
    end.

step([stop]) ->
    Sup = get(sup),
    exit(Sup, shutdown),
    settle(),
    [[step] | look()];
step([Action]) ->
    Replies = case Action of
        {exit, Id, Reason} -> end_worker(Id, Reason), [];
        {under, Branch, {exit, Id, Reason}} -> notary({pid_of, Branch}) =:= undefined orelse end_worker(Id, Reason), [];
        {under, Branch, Below} ->
            case notary({pid_of, Branch}) of
                undefined -> [];
                Pid -> [answer(call(Below, Pid, false))]
            end;
        {change, Flags, Specs} -> sys:suspend(get(sup)), Reply = change(Flags, Specs), sys:resume(get(sup)), [Reply];
        _ -> [answer(call(Action))]
    end,
    settle(),
    [[step] | look()] ++ Replies;
step(Actions) ->
    %% All of it lies in its mailbox, in this order, before it looks at the first.
    sys:suspend(get(sup)),
    Callers = lists:append([post(Action) || Action <- Actions]),
    sys:resume(get(sup)),
    Replies = [receive {Ref, Answer} -> Answer end || Ref <- Callers],
    settle(),
    [[step] | look()] ++ Replies.

post({exit, Id, Reason}) -> end_worker(Id, Reason), [];
post(Action) ->
    Before = waiting(),
    case call(Action) of
        nobody -> [];
        Call ->
            Ref = make_ref(), Me = self(),
            spawn(fun() -> Me ! {Ref, answer(Call)} end),
            until(fun() -> waiting() > Before end),
            [Ref]
    end.

waiting() -> waiting(get(sup)).

waiting(Sup) ->
    {message_queue_len, Length} = process_info(Sup, message_queue_len),
    Length.

%% What is asked, as a fun to run; nobody when there is no process to name.
call(Action) -> call(Action, get(sup), get(simple)).

call(Action, Sup, Simple) ->
    case Action of
        {start_child, Spec} when Simple ->
            behave(Spec),
            #{id := Id, stop := Stop} = Spec,
            fun() -> started(supervisor:start_child(Sup, [Id, Stop])) end;
        {start_child, Spec} ->
            Fun = fun() -> started(supervisor:start_child(Sup, child(Spec))) end,
            behave(Spec),
            Fun;
        {terminate_child, Id} when Simple ->
            case notary({pid_of, Id}) of
                undefined -> nobody;
                Pid -> fun() -> done(supervisor:terminate_child(Sup, Pid)) end
            end;
        {terminate_child, Id} -> fun() -> done(supervisor:terminate_child(Sup, Id)) end;
        {terminate_id, Id} -> fun() -> done(supervisor:terminate_child(Sup, Id)) end;
        {restart_child, Id} -> fun() -> restarted(supervisor:restart_child(Sup, Id)) end;
        {delete_child, Id} -> fun() -> done(supervisor:delete_child(Sup, Id)) end
    end.

answer(nobody) -> [nobody];
answer(Call) ->
    try Call() catch exit:_ -> [error, shutdown] end.

started({ok, undefined}) -> [ok, undefined];
started({ok, Pid}) -> [ok, name(Pid)];
started({ok, Pid, Info}) -> [ok, name(Pid), Info];
started({error, {already_started, {restarting, _}}}) -> [error, already_started, restarting];
started({error, {already_started, Pid}}) -> [error, already_started, name(Pid)];
started({error, already_present}) -> [error, already_present];
started({error, {bad_combination, _}}) -> [error, bad_combination];
started({error, {Reason, Child}}) when is_tuple(Child), element(1, Child) =:= child -> [error, start_error, reason(Reason)];
started({error, Reason}) -> [error, start_error, reason(Reason)].

restarted({error, Reason}) when Reason =:= not_found; Reason =:= running; Reason =:= restarting;
                                Reason =:= simple_one_for_one -> [error, Reason];
restarted({error, Reason}) -> [error, start_error, reason(Reason)];
restarted(Other) -> started(Other).

done(ok) -> [ok];
done({error, Reason}) -> [error, Reason].

change(Flags, Specs) ->
    [{_, Old}] = ets:lookup(inits, current),
    set_init(Flags, Specs),
    case sys:change_code(get(sup), ?MODULE, undefined, []) of
        ok -> lists:foreach(fun behave_if_new/1, Specs), [ok];
        {error, Reason} ->
            ets:insert(inits, {current, Old}),
            [error, if is_tuple(Reason) -> element(1, Reason); true -> Reason end]
    end.

%% A worker ends by itself; returns when its supervisor has the news in its mailbox.
end_worker(Id, Reason) ->
    case notary({pid_of, Id}) of
        undefined -> ok;
        Pid ->
            case Reason of
                kill -> exit(Pid, kill);
                _ -> Pid ! {'end', Reason}
            end,
            Sup = notary({parent_of, Pid}),
            until(fun() -> not is_process_alive(Pid) andalso not linked(Sup, Pid) end)
    end.

linked(Sup, Pid) ->
    case process_info(Sup, links) of
        {links, Links} -> lists:member(Pid, Links);
        undefined -> false
    end.

%% -- rest ----------------------------------------------------------------------------------------------------

settle() -> until(fun at_rest/0).

at_rest() ->
    Sup = get(sup),
    receive
        {'EXIT', Sup, Reason} -> put(ended, reason(Reason))
    after 0 -> ok
    end,
    case get(ended) of
        undefined ->
            try
                Sups = [Sup | [Pid || {_, Pid} <- notary(branches)]],
                Pids = [Pid || One <- Sups, {_, Pid, _, _} <- supervisor:which_children(One), Pid =/= undefined],
                not lists:member(restarting, Pids)
                    andalso lists:all(fun is_process_alive/1, Pids)
                    andalso lists:sort(Pids) =:= notary(alive)
                    andalso lists:all(fun(One) -> waiting(One) =:= 0 end, Sups)
            catch _:_ -> false
            end;
        _ -> notary(alive) =:= []
    end.

until(Condition) -> until(Condition, ?LOOKS).

until(Condition, 0) -> error({waited_in_vain, Condition, notary(trace)});
until(Condition, Left) ->
    case Condition() of
        true -> ok;
        false when Left > ?LOOKS - 1000 -> erlang:yield(), until(Condition, Left - 1);
        false -> timer:sleep(1), until(Condition, Left - 1)
    end.

look() ->
    Trace = notary(trace),
    case get(ended) of
        undefined ->
            Branches = [[branch, Id | look(Pid)] || {Id, Pid} <- notary(branches)],
            [[events | Trace]] ++ look(get(sup)) ++ Branches;
        Reason -> [[events | Trace], [ended, Reason]]
    end.

look(Sup) ->
    Which = [[Id, name(Pid)] || {Id, Pid, _, _} <- supervisor:which_children(Sup)],
    Count = maps:from_list(supervisor:count_children(Sup)),
    Numbers = [maps:get(Key, Count) || Key <- [specs, active, supervisors, workers]],
    [[which | Which], [count | Numbers]].

name(undefined) -> undefined;
name(restarting) -> restarting;
name(Pid) -> notary({name_of, Pid}).

%% -- the notary: how workers behave, which are alive, and what happened in which order --------------------------

notary(Question) ->
    Ref = make_ref(),
    notary ! {self(), Ref, Question},
    receive {Ref, Answer} -> Answer end.

note(Entry) -> notary({note, Entry}).

behave(#{id := Id, starts := Starts, below := Below}) ->
    notary({behave, Id, Starts}),
    case Below of
        none -> ok;
        {_Flags, Specs} -> lists:foreach(fun behave/1, Specs)
    end.

behave_if_new(#{id := Id, starts := Starts}) -> notary({behave_if_new, Id, Starts}).

%% Alive: pid => {id, worker or branch, the pid of its supervisor}; Names: pid => name, and id => how many there were.
notary(Trace, Behaviours, Alive, Names) ->
    receive
        {'DOWN', _, process, Pid, Reason} ->
            Entry = [down, name_in(Names, Pid), reason(Reason)],
            notary([Entry | Trace], Behaviours, maps:remove(Pid, Alive), Names);
        {From, Ref, Question} ->
            {Answer, T, B, A, N} = notary(Question, Trace, Behaviours, Alive, Names),
            From ! {Ref, Answer},
            notary(T, B, A, N)
    end.

notary({note, Entry}, T, B, A, N) -> {ok, [Entry | T], B, A, N};
notary({behave, Id, Starts}, T, B, A, N) -> {ok, T, B#{Id => Starts}, A, N};
notary({behave_if_new, Id, Starts}, T, B, A, N) -> {ok, T, maps:merge(#{Id => Starts}, B), A, N};
notary({start, Id}, T, B, A, N) ->
    {How, Rest} = case maps:get(Id, B, []) of [] -> {up, []}; [First | Others] -> {First, Others} end,
    {How, [[start, Id] | T], B#{Id => Rest}, A, N};
notary({up, Id, Pid, Kind, Sup}, T, B, A, N) ->
    Number = maps:get(Id, N, 0) + 1,
    Name = [Id, $#, Number],
    monitor(process, Pid),
    {ok, [[up, Name] | T], B, A#{Pid => {Id, Kind, Sup}}, N#{Id => Number, Pid => Name}};
notary({pid_of, Id}, T, B, A, N) ->
    Found = [Pid || {Pid, {Other, _, _}} <- maps:to_list(A), Other =:= Id, is_process_alive(Pid)],
    {case Found of [] -> undefined; [Pid | _] -> Pid end, T, B, A, N};
notary({parent_of, Pid}, T, B, A, N) -> {element(3, maps:get(Pid, A)), T, B, A, N};
notary(branches, T, B, A, N) -> {lists:sort([{Id, Pid} || {Pid, {Id, branch, _}} <- maps:to_list(A)]), T, B, A, N};
notary({name_of, Pid}, T, B, A, N) -> {name_in(N, Pid), T, B, A, N};
notary(alive, T, B, A, N) -> {lists:sort(maps:keys(A)), T, B, A, N};
notary(trace, T, B, A, N) -> {lists:reverse(T), [], B, A, N}.

name_in(Names, Pid) ->
    [Id, $#, Number] = maps:get(Pid, Names),
    list_to_atom(lists:concat([Id, "#", Number])).

%% -- the supervisor's callback and its children ----------------------------------------------------------------

set_init(Flags, Specs) ->
    Children = case {Flags, Specs} of
        {#{strategy := simple_one_for_one}, [Spec]} ->
            [(child(Spec))#{start => {?MODULE, start_spawned, [maps:get(id, Spec)]}}];
        _ -> [child(Spec) || Spec <- Specs]
    end,
    ets:insert(inits, {current, {Flags, Children}}).

init([]) ->
    [{_, Init}] = ets:lookup(inits, current),
    {ok, Init};
init({Flags, Specs}) -> {ok, {Flags, [child(Spec) || Spec <- Specs]}}.

child(#{id := Id, stop := Stop, below := none} = Spec) -> child(Spec, {?MODULE, start_worker, [{Id, Stop}]});
child(#{id := Id, below := Below} = Spec) -> child(Spec, {?MODULE, start_branch, [{Id, Below}]}).

child(Spec, Start) -> (maps:without([starts, stop, below], Spec))#{start => Start}.

start_spawned(_Template, Id, Stop) -> start_worker({Id, Stop}).

start_worker({Id, Stop}) ->
    case notary({start, Id}) of
        up -> up(Id, Stop);
        info -> {ok, Pid} = up(Id, Stop), {ok, Pid, info};
        Failure -> not_up(Failure)
    end.

start_branch({Id, Below}) ->
    case notary({start, Id}) of
        Up when Up =:= up; Up =:= info ->
            case supervisor:start_link(?MODULE, Below) of
                {ok, Pid} -> notary({up, Id, Pid, branch, self()}), {ok, Pid};
                Error -> Error
            end;
        Failure -> not_up(Failure)
    end.

not_up(ignore) -> ignore;
not_up(error) -> {error, no_luck};
not_up(crash) -> proc_lib:start_link(?MODULE, doomed, [self()]);
not_up(raise) -> error(raised).

up(Id, Stop) ->
    Sup = self(),
    {ok, Pid} = proc_lib:start_link(?MODULE, worker, [Sup, Id, Stop, []]),
    notary({up, Id, Pid, worker, Sup}),
    {ok, Pid}.

doomed(_Sup) -> exit(crashed).

worker(Sup, _Id, Stop, []) ->
    process_flag(trap_exit, true),
    proc_lib:init_ack(Sup, {ok, self()}),
    obey(Sup, Stop).

obey(Sup, Stop) ->
    receive
        {'end', Reason} -> exit(Reason);
        {'EXIT', Sup, Reason} ->
            case Stop of
                never -> obey(Sup, Stop);
                as_asked -> exit(Reason);
                _ -> exit(Stop)
            end
    end.

%% -- what the supervisor reports ---------------------------------------------------------------------------------

log(#{msg := {report, #{label := {supervisor, _}, report := Report}}}, _Config) ->
    Offender = proplists:get_value(offender, Report),
    Id = proplists:get_value(id, Offender),
    case proplists:get_value(nb_children, Offender) of
        undefined ->
            Context = proplists:get_value(errorContext, Report),
            catch note([report, Context, Id, reason(proplists:get_value(reason, Report))]);
        _ -> ok  % the sum of what simple_one_for_one's children ended with
    end;
log(_, _) -> ok.

%% -- words -------------------------------------------------------------------------------------------------------

reason({'EXIT', {Reason, _Stack}}) -> reason(Reason);
reason({shutdown, {failed_to_start_child, Id, Reason}}) ->
    {text, ["shutdown: failed_to_start_child ", word(Id), ": ", word(reason(Reason))]};
reason({shutdown, Reason}) -> {text, ["shutdown: ", word(Reason)]};
reason(Reason) -> {text, word(Reason)}.

word({text, Text}) -> Text;
word(Atom) when is_atom(Atom) -> atom_to_list(Atom);
word(Number) when is_integer(Number) -> integer_to_list(Number);
word([Id, $#, Number]) when is_atom(Id) -> [word(Id), $#, word(Number)];
word(Other) -> [case C of $" -> $'; _ -> C end || C <- lists:flatten(io_lib:format("~0p", [Other]))].

json([Id, $#, Number]) when is_atom(Id), is_integer(Number) -> [$", word([Id, $#, Number]), $"];
json(List) when is_list(List) -> [$[, lists:join($,, [json(One) || One <- List]), $]];
json(Number) when is_integer(Number) -> integer_to_list(Number);
json(Other) -> [$", word(Other), $"].
