export USE_HF=1
export NPROC_PER_NODE=8
swift sft \
    --model meta-llama/Llama-3.1-8B \
    --tuner_type full \
    --dataset hf::allenai/tulu-3-sft-mixture#50000 \
    --columns '{"messages": "messages"}' \
    --attn_impl flash_attn \
    --packing true \
    --packing_length 8192 \
    --max_length 8192 \
    --torch_dtype bfloat16 \
    --freeze_parameters_ratio 0 \
    --num_train_epochs 1 \
    --per_device_train_batch_size 1 \
    --gradient_accumulation_steps 2 \
    --learning_rate 8e-6 \
    --lr_scheduler_type cosine_with_min_lr \
    --lr_scheduler_kwargs '{"min_lr": 1e-6}' \
    --weight_decay 0.05 \
    --max_grad_norm 0.5 \
    --gradient_checkpointing_kwargs '{"use_reentrant": false}' \
    --use_liger_kernel true \
    --deepspeed zero3_offload \
    --save_strategy epoch \
    --save_only_model true \
    --report_to wandb swanlab \
    --swanlab_project tulu \
    --seed 7 --data_seed 7
